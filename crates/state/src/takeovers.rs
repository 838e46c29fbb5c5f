//! Log of takeovers: how the latest reigns began, which operators ask first after a failure.
//!
//! The connector server writes one record per reign, after its connectors are at work. It decides
//! nothing, so the only care is that it is true and that it stays small: it counts only in an entry
//! of the reign's own holder and term, once per epoch, and the oldest makes room.

use imbl::Vector;
use quorate_proto::command::{FieldError, takeover};
use quorate_types::MemberId;

use super::{Answer, Reign, field_errors::error};

pub use quorate_proto::command::Takeover;
pub use takeover::Reason;

/// Number of takeovers that are kept. Part of the format: see [`super::command`].
pub const TAKEOVERS_MAX: usize = 100;
/// Longest name of a member, in bytes.
const NAME_BYTES_MAX: usize = 63;

/// Last [`TAKEOVERS_MAX`] takeovers that were recorded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TakeoverLog(Vector<Takeover>);

impl TakeoverLog {
    /// Returns the newest, if there is one.
    pub fn last(&self) -> Option<&Takeover> {
        self.0.last()
    }

    /// Lists the newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Takeover> {
        self.0.iter().rev()
    }

    pub(super) fn oldest_first(&self) -> impl Iterator<Item = &Takeover> {
        self.0.iter()
    }

    /// Records a takeover. `index`, `term` and `leader` are those of the entry.
    pub(super) fn record(
        &mut self,
        index: u64,
        term: u64,
        leader: MemberId,
        reign: &Reign,
        takeover: &Takeover,
    ) -> Answer {
        let epoch = takeover.epoch;
        if reign.holder != Some(leader) || (reign.epoch, reign.term) != (epoch, term) {
            return Answer::Ignored(format!(
                "leader {leader} in term {term} explained epoch {epoch}; the epoch is {}, in term {}",
                reign.epoch, reign.term
            ));
        }
        if self.last().is_some_and(|last| last.epoch >= epoch) {
            return Answer::Ignored(format!("epoch {epoch} has been explained before"));
        }
        if takeover.term != term {
            return Answer::Ignored(format!(
                "epoch {epoch} was explained with term {} instead of the reign's, {term}",
                takeover.term
            ));
        }
        self.keep(takeover.clone());
        Answer::done(index, true)
    }

    pub(super) fn keep(&mut self, takeover: Takeover) {
        self.0.push_back(takeover);
        while self.0.len() > TAKEOVERS_MAX {
            self.0.pop_front();
        }
    }
}

pub(super) fn check(takeover: &Takeover) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let names = [
        ("from", takeover.from.as_deref()),
        ("to", Some(takeover.to.as_str())),
    ];
    for (field, name) in names {
        if let Some(name) = name.filter(|name| name.is_empty() || name.len() > NAME_BYTES_MAX) {
            let problem = format!("must be a member's name, of 1 to {NAME_BYTES_MAX} bytes");
            errors.push(error(field, format!("{} bytes", name.len()), problem));
        }
    }
    if matches!(
        Reason::try_from(takeover.reason),
        Err(_) | Ok(Reason::Unknown)
    ) {
        let problem = "is not one that this version knows: upgrade every member first";
        errors.push(error("reason", takeover.reason.to_string(), problem));
    }
    if takeover.activated > takeover.connectors {
        let problem = format!("must be at most connectors, {}", takeover.connectors);
        errors.push(error("activated", takeover.activated.to_string(), problem));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Command, Machine, State, StateEvent},
        *,
    };

    fn takeover(epoch: u64, term: u64) -> Takeover {
        Takeover {
            epoch,
            term,
            to: "member-1".into(),
            reason: Reason::Death.into(),
            committed_us: 9_876,
            ..Takeover::default()
        }
    }

    fn explain(takeover: &Takeover) -> Command {
        Command::RecordTakeover(Box::new(takeover.clone()))
    }

    /// A reign of member 1 in term 5, with epoch 10.
    fn reigning() -> Machine {
        let mut machine = Machine::default();
        machine.apply(10, 5, 1, &Command::TakeOver { member: 1, term: 5 });
        machine
    }

    #[test]
    fn takeover_is_recorded_once_by_its_holder() {
        let mut machine = reigning();
        let before = machine.state().takeovers().clone();
        for (term, leader, epoch) in [(5, 2, 10), (6, 1, 10), (5, 1, 9), (5, 1, 11), (5, 1, 0)] {
            let (answer, events) =
                machine.apply(11, term, leader, &explain(&takeover(epoch, term)));
            let case = format!("epoch {epoch} by leader {leader} in term {term}");
            assert!(matches!(answer, Answer::Ignored(_)), "{case}: {answer:?}");
            assert!(events.is_empty(), "{case}");
        }
        assert_eq!(*machine.state().takeovers(), before);
        let (answer, _) = machine.apply(11, 5, 1, &explain(&takeover(10, 4)));
        assert!(matches!(answer, Answer::Ignored(_)), "{answer:?}");
        let (_, events) = machine.apply(12, 5, 1, &explain(&takeover(10, 5)));
        assert_eq!(events, [StateEvent::TakeoverRecorded { epoch: 10 }]);
        let (again, _) = machine.apply(13, 5, 1, &explain(&takeover(10, 5)));
        assert!(matches!(again, Answer::Ignored(_)), "{again:?}");
        assert_eq!(machine.state().takeovers().last(), Some(&takeover(10, 5)));
        assert_eq!(machine.state().takeovers().newest_first().count(), 1);
    }

    #[test]
    fn invalid_takeover_is_refused_by_field() {
        let good = takeover(10, 5);
        let bad = [
            (
                "from",
                Takeover {
                    from: Some(String::new()),
                    ..good.clone()
                },
            ),
            (
                "to",
                Takeover {
                    to: "m".repeat(64),
                    ..good.clone()
                },
            ),
            (
                "reason",
                Takeover {
                    reason: 0,
                    ..good.clone()
                },
            ),
            (
                "reason",
                Takeover {
                    reason: 99,
                    ..good.clone()
                },
            ),
            (
                "activated",
                Takeover {
                    activated: 1,
                    ..good
                },
            ),
        ];
        for (field, bad) in bad {
            let errors = explain(&bad).check().unwrap_err();
            assert_eq!(errors[0].field, field, "{errors:?}");
            // The rules of another version may allow it.
            let (answer, _) = reigning().apply(11, 5, 1, &explain(&bad));
            assert!(answer.changed(), "{field}: {answer:?}");
        }
    }

    #[test]
    fn last_hundred_takeovers_survive_a_snapshot() {
        let mut machine = Machine::default();
        for epoch in (2..=300).step_by(2) {
            machine.apply(epoch, 5, 1, &Command::TakeOver { member: 1, term: 5 });
            machine.apply(epoch + 1, 5, 1, &explain(&takeover(epoch, 5)));
        }
        let epochs: Vec<u64> = machine
            .state()
            .takeovers()
            .newest_first()
            .map(|it| it.epoch)
            .collect();
        let wanted: Vec<u64> = (51..=150).rev().map(|n| n * 2).collect();
        assert_eq!(epochs, wanted);
        let mut bytes = Vec::new();
        machine.state().write_to(&mut bytes).unwrap();
        let restored = State::read_from(&mut &bytes[..]).unwrap();
        assert_eq!(restored.takeovers(), machine.state().takeovers());
    }
}
