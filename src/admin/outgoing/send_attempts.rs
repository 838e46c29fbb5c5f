//! The outcome that may be reported of a message, over all attempts to send it.
//!
//! An attempt ends in one of three ways: it surely has not sent the message, it may have, or there
//! is an outcome. *Not sent* is reported only when it is true of every attempt:
//!
//! 1. A pending outcome begins as not sent. An attempt that may have sent the message makes it
//!    unknown, and whatever later attempts report of themselves, it stays so:
//!    `a_fate_only_gets_worse`.
//! 2. Without a key the attempt that may have sent the message is the last one:
//!    `without_key_nothing_is_retried_after_doubt`.
//! 3. Under a key the log is asked again, and only *confirmed* and *refused* end the doubt:
//!    `doubt_is_cleared_only_by_an_outcome`. Either is the outcome of the intent of the attempt
//!    in doubt. Or it is that of another intent, which the log admitted and which stays; then the
//!    intent of the attempt in doubt was withdrawn, or it is not in the log and would find the
//!    other one. *Not sent* shows nothing of the kind: an intent that is withdrawn leaves its place
//!    to the one of an attempt in doubt that is late. Nor does a refusal of the request itself,
//!    which says nothing of what was done before it.

use std::future::Future;

use quorate_ipc::SendOutcome;
use quorate_planted::{Mutant, planted};

/// The outcome so far: not sent, or unknown; it only gets worse.
#[derive(Debug)]
pub(super) struct PendingOutcome {
    /// The reason why the latest attempt surely has not sent the message.
    latest: String,
    /// The reason why an attempt may have sent the message: the first such.
    doubt: Option<String>,
}

impl PendingOutcome {
    /// Starts as not sent, for this reason.
    pub(super) fn new(why: impl Into<String>) -> PendingOutcome {
        PendingOutcome {
            latest: why.into(),
            doubt: None,
        }
    }

    /// Notes that the latest attempt surely has not sent the message.
    pub(super) fn not_sent(&mut self, why: String) {
        self.latest = why;
        if planted(Mutant::DoubtForgotten) {
            self.doubt = None;
        }
    }

    /// Notes that the latest attempt may have sent the message.
    pub(super) fn may_be_sent(&mut self, why: String) {
        self.doubt.get_or_insert(why);
    }

    /// Returns true if an attempt may have sent the message.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.doubt.is_some()
    }

    /// Returns the outcome that the caller is answered.
    pub(super) fn into_outcome(self) -> SendOutcome {
        match self.doubt {
            Some(why) => SendOutcome::Unknown(why),
            None => SendOutcome::NotSent(self.latest),
        }
    }
}

/// The result of one attempt.
#[derive(Clone, Debug)]
pub(super) enum AttemptResult<A> {
    /// The outcome of the message, whatever was tried before.
    Answered(A),
    /// The request is refused as it is. This says nothing of earlier attempts.
    Rejected(A),
    /// Surely not sent by this attempt; another one may help.
    NotSent(String),
    /// This attempt may have sent the message.
    Unknown(String),
    /// There is no connector server to ask.
    NoConnectorServer,
}

/// The attempts to send one message.
pub(super) trait SendAttempts {
    /// The type of the caller's answer.
    type Answer;

    /// Tries to send the message.
    fn attempt(&mut self) -> impl Future<Output = AttemptResult<Self::Answer>> + Send;

    /// Waits until another attempt makes sense; `false` if there is no time for one.
    fn pause(&mut self) -> impl Future<Output = bool> + Send;
}

/// Tries until there is an answer, or until no further attempt may be made.
pub(super) async fn settle<T: SendAttempts>(
    keyed: bool,
    tries: &mut T,
) -> Result<T::Answer, SendOutcome> {
    let mut fate = PendingOutcome::new("there is no connector server at the moment");
    loop {
        match tries.attempt().await {
            AttemptResult::Answered(answer) => return Ok(answer),
            AttemptResult::Rejected(_) if fate.is_in_doubt() => return Err(fate.into_outcome()),
            AttemptResult::Rejected(answer) => return Ok(answer),
            AttemptResult::NotSent(why) => fate.not_sent(why),
            AttemptResult::Unknown(why) => fate.may_be_sent(why),
            AttemptResult::NoConnectorServer => {}
        }
        let last = fate.is_in_doubt() && !keyed;
        if last || !tries.pause().await {
            return Err(fate.into_outcome());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    /// Gives the answers of a script, then there is no time left.
    struct Script {
        attempts: VecDeque<AttemptResult<&'static str>>,
        made: usize,
    }

    impl SendAttempts for Script {
        type Answer = &'static str;

        async fn attempt(&mut self) -> AttemptResult<&'static str> {
            self.made += 1;
            self.attempts
                .pop_front()
                .unwrap_or(AttemptResult::NoConnectorServer)
        }

        async fn pause(&mut self) -> bool {
            !self.attempts.is_empty()
        }
    }

    /// Returns what the caller is answered, and the number of attempts.
    fn play(
        keyed: bool,
        script: &[AttemptResult<&'static str>],
    ) -> (Result<&'static str, SendOutcome>, usize) {
        let mut script = Script {
            attempts: script.iter().cloned().collect(),
            made: 0,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let told = runtime.block_on(settle(keyed, &mut script));
        (told, script.made)
    }

    fn attempt() -> impl Strategy<Value = AttemptResult<&'static str>> {
        prop_oneof![
            1 => Just(AttemptResult::Answered("outcome")),
            1 => Just(AttemptResult::Rejected("rejected")),
            4 => Just(AttemptResult::NotSent("not acting".into())),
            3 => Just(AttemptResult::Unknown("no answer".into())),
            3 => Just(AttemptResult::NoConnectorServer),
        ]
    }

    fn may_have_sent(attempt: &AttemptResult<&str>) -> bool {
        matches!(attempt, AttemptResult::Unknown(_))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

        // guarantee: SEND-1
        #[test]
        fn a_fate_only_gets_worse(steps in prop::collection::vec(any::<bool>(), 0..12)) {
            let mut fate = PendingOutcome::new("begin");
            for (n, sent) in steps.iter().enumerate() {
                if *sent {
                    fate.may_be_sent("perhaps".into());
                } else {
                    fate.not_sent("no".into());
                }
                prop_assert_eq!(fate.is_in_doubt(), steps[..=n].contains(&true));
            }
            let told = fate.into_outcome();
            prop_assert_eq!(matches!(told, SendOutcome::Unknown(_)), steps.contains(&true));
            prop_assert_eq!(matches!(told, SendOutcome::NotSent(_)), !steps.contains(&true));
        }

        // guarantee: SEND-1
        #[test]
        fn doubt_is_cleared_only_by_an_outcome(
            script in prop::collection::vec(attempt(), 1..12)
        ) {
            let (told, made) = play(true, &script);
            let doubted = script[..made].iter().any(may_have_sent);
            match told {
                Ok("outcome") => {
                    prop_assert!(matches!(script[made - 1], AttemptResult::Answered(_)));
                }
                // Both of these say that nothing was sent.
                Ok(_) | Err(SendOutcome::NotSent(_)) => prop_assert!(!doubted),
                Err(SendOutcome::Unknown(_)) => prop_assert!(doubted),
                Err(other) => prop_assert!(false, "{:?}", other),
            }
        }

        #[test]
        fn without_key_nothing_is_retried_after_doubt(
            script in prop::collection::vec(attempt(), 1..12)
        ) {
            let (told, made) = play(false, &script);
            prop_assert!(!script[..made - 1].iter().any(may_have_sent));
            let doubted = may_have_sent(&script[made - 1]);
            prop_assert_eq!(matches!(told, Err(SendOutcome::Unknown(_))), doubted);
        }
    }

    /// The interleaving that was found: the one that was passed the message falls silent, and
    /// until the time is over nobody can act.
    #[test]
    fn silent_connector_server_without_successor_gives_unknown() {
        let script = [
            AttemptResult::Unknown("it fell silent".into()),
            AttemptResult::NoConnectorServer,
            AttemptResult::NotSent("this member does not run the connectors".into()),
        ];
        let (told, made) = play(true, &script);
        assert!(matches!(told, Err(SendOutcome::Unknown(_))), "{told:?}");
        assert_eq!(made, 3);
    }
}
