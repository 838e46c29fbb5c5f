//! Bugs that are planted on purpose, so that a test that should find them can be shown to.
//!
//! Each [`Mutant`] is one bug, planted at one place or a few by
//! `if planted(Mutant::...)`. Without the feature `mutants`, which no build has that is
//! shipped or run, [`planted`] is a constant `false`: what stands behind it is left out of
//! the program, names and all. With it the program `quorate-mutants` plants the one that
//! the environment variable `QUORATE_MUTANT` names, and none when it is absent.
#![forbid(unsafe_code)]

use std::{fmt, str::FromStr};

macro_rules! mutants {
    ($($variant:ident $name:literal $what:literal)*) => {
        /// A bug that can be planted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutant {
            $(#[doc = $what] $variant,)*
        }

        impl Mutant {
            /// All of them.
            pub const ALL: &[Mutant] = &[$(Mutant::$variant,)*];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Mutant::$variant => $name,)*
                }
            }

            /// What is broken, in a sentence.
            pub const fn what(self) -> &'static str {
                match self {
                    $(Mutant::$variant => $what,)*
                }
            }
        }
    };
}

mutants! {
    FollowerReadsLocally "follower-reads-locally"
        "A member that does not lead answers linearizable reads from what it has applied."
    ReadWithoutQuorum "read-without-quorum"
        "The leader answers linearizable reads without asking a quorum whether it still leads."
    LogNotSynced "log-not-synced"
        "Entries are acknowledged at once, and made to last once a second."
    VoteNotPersisted "vote-not-persisted"
        "A vote is given without being written anywhere: a restart forgets it, and its term."
    AckBeforeCommit "ack-before-commit"
        "The leader answers a client's put once it is in its own log, before a quorum has it."
    QuorumOffByOne "quorum-off-by-one"
        "The leader counts appends to one of the others as done when that one doesn't answer: one voter fewer than a majority commits."
    BlindRetry "blind-retry"
        "A write that was sent to the leader and not answered soon is sent again by the member, though the first may have been done."
    UnknownToldAsFailed "unknown-told-as-failed"
        "A write that the leader did not answer soon, or whose outcome is not known, is told as one that was surely not done."
    PreconditionAtMember "precondition-at-member"
        "The precondition of a write is checked by the member that is asked, and not when the write is applied."
    StateByMember "state-by-member"
        "What is applied depends on a hash whose seed each process draws anew: some puts leave a key its old revision, on some members."
    SnapshotWithoutReign "snapshot-without-reign"
        "A snapshot leaves out who reigns: who is restored from it knows of no epoch."
    EpochNotIncreased "epoch-not-increased"
        "A new reign takes over the epoch of the one before."
    LeaseCheckRemoved "lease-check-removed"
        "The lease always lets its holder act: in the process, in its watchdog, in the gateway and in what renews it."
    LeaseTooLong "lease-too-long"
        "The lease lasts ten times as long as others count on."
    WallClockLease "wall-clock-lease"
        "The lease ends by the wall clock, which jumps."
    TakeoverWithoutWait "takeover-without-wait"
        "A new connector server does not wait until the lease of the one before is over, whatever the fence."
    LeaseLengthIgnored "lease-length-ignored"
        "A voter reckons with its own lease, and not with the one that the leader says it has."
    PromiseByMember "promise-by-member"
        "Each member keeps the promise that its own settings name, and reckons with its own lease."
    AnsweredByHabit "answered-by-habit"
        "A voter answers heartbeats of a leader as before, after it has voted for another."
    ReleasedEpochActs "released-epoch-acts"
        "A connector server whose release is of unknown fate, and that still leads, acts again under the epoch that it has let go of."
    GatewayIgnoresEpochs "gateway-ignores-epochs"
        "The gateway and the member that runs the service take a message of any epoch, without a look at lease or reign."
    AckedBeforeService "acked-before-service"
        "A message is acknowledged to its broker when it is handed on, before its service has answered."
    ChildTakesParentsSignals "child-takes-parents-signals"
        "A connector process takes the signals that its member takes: whoever ends all processes of a member at once ends it before what is in flight is done."
    WatchDropsEvent "watch-drops-event"
        "Who resumes a watch is not sent the first change that it has missed."
    DoubtForgotten "doubt-forgotten"
        "Of a message that an earlier try may have sent, the caller is told what the latest try says: that it was not sent."
    ValidatedInApply "validated-in-apply"
        "A member refuses values when they are applied, by a limit on their length that each process draws anew."
    StreamOffsetForgotten "stream-offset-forgotten"
        "The offset of a stream is kept nowhere: each session begins with what comes from then on."
    TriesForgotten "tries-forgotten"
        "Who takes a channel over knows nothing of the tries that messages have had."
    ReturnToldAsRefused "return-told-as-refused"
        "Whatever comes back from the broker is told as refused, also what it has handed over nevertheless."
    CallerNotCompared "caller-not-compared"
        "Behind TLS a call is believed in the name of any member, whosever certificate its caller has."
    UnknownCommandPassedOver "unknown-command-passed-over"
        "A member passes over commands that it does not know, each member over some puts of its own, and goes on."
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no bug of this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown(String);

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no bug is named {:?}; there are:", self.0)?;
        for mutant in Mutant::ALL {
            write!(f, "\n  {mutant}: {}", mutant.what())?;
        }
        Ok(())
    }
}

impl std::error::Error for Unknown {}

impl FromStr for Mutant {
    type Err = Unknown;

    fn from_str(name: &str) -> Result<Mutant, Unknown> {
        let found = Mutant::ALL.iter().find(|mutant| mutant.name() == name);
        found.copied().ok_or_else(|| Unknown(name.to_owned()))
    }
}

#[cfg(not(feature = "mutants"))]
mod absent {
    use super::Mutant;

    /// Never.
    #[inline(always)]
    pub const fn planted(_: Mutant) -> bool {
        false
    }

    /// None.
    pub const fn variable() -> Option<&'static str> {
        None
    }
}
#[cfg(not(feature = "mutants"))]
pub use absent::{planted, variable};

#[cfg(feature = "mutants")]
mod present {
    use std::sync::OnceLock;

    use super::{Mutant, Unknown};

    /// The variable that names the bug to plant.
    pub const VARIABLE: &str = "QUORATE_MUTANT";

    static CHOSEN: OnceLock<Mutant> = OnceLock::new();

    /// Plants the bug that the environment names, if it names one. Called once, first thing
    /// in `main`: a program that doesn't call it has no bug of these.
    pub fn plant_as_asked() -> Result<(), Unknown> {
        if let Some(name) = std::env::var_os(VARIABLE) {
            let mutant = name.to_string_lossy().parse()?;
            CHOSEN.get_or_init(|| mutant);
        }
        Ok(())
    }

    /// The variable that a process has to hand on to those that it starts, for the bug to be
    /// planted in them too.
    pub const fn variable() -> Option<&'static str> {
        Some(VARIABLE)
    }

    /// The bug that is planted in this process.
    pub fn which() -> Option<Mutant> {
        CHOSEN.get().copied()
    }

    /// Whether this bug is planted in this process.
    #[inline]
    pub fn planted(mutant: Mutant) -> bool {
        which() == Some(mutant)
    }
}
#[cfg(feature = "mutants")]
pub use present::{VARIABLE, plant_as_asked, planted, variable, which};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_found_by_its_name_alone() {
        for (n, mutant) in Mutant::ALL.iter().enumerate() {
            assert_eq!(mutant.to_string().parse(), Ok(*mutant));
            let name = mutant.name();
            let kebab = |c: char| c.is_ascii_lowercase() || c == '-';
            assert!(name.chars().all(kebab), "{name}");
            assert!(mutant.what().ends_with('.'), "{name}");
            assert!(Mutant::ALL[..n].iter().all(|other| other.name() != name));
        }
    }

    #[test]
    fn unknown_name_error_lists_all_bugs() {
        let told = "no-such".parse::<Mutant>().unwrap_err().to_string();
        assert!(told.starts_with("no bug is named \"no-such\""), "{told}");
        for mutant in Mutant::ALL {
            assert!(told.contains(mutant.name()), "{told}");
        }
    }
}
