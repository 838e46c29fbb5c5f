//! What is done to members, links and disks; each proves that it took effect, and heals.

pub mod broker;
pub mod clock;
pub mod damage;
pub mod disk;
pub mod forge;
pub mod kill;
pub mod latency;
pub mod limits;
pub mod links;
pub mod missing;
pub mod partition;
pub mod pause;
pub mod transfer;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use rand::{SeedableRng, rngs::StdRng};

use crate::{bed::Bed, history::Fault, plan::Step, stop::Stop};
use kill::Whom;
use partition::Shape;

/// How long a fault may take to show.
const SHOWS_WITHIN: Duration = Duration::from_secs(2);

/// Whom a fault meets.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// In words.
    pub told: String,
    /// The members that it is done to.
    pub members: Vec<u64>,
}

impl Target {
    /// These members, after a word or two.
    #[must_use]
    pub fn of(what: &str, members: Vec<u64>) -> Target {
        let names: Vec<String> = members.iter().map(u64::to_string).collect();
        Target {
            told: format!("{what} {}", names.join(", ")),
            members,
        }
    }
}

/// A kind of fault.
#[async_trait]
pub trait Nemesis: Send {
    /// Does it.
    async fn begin(&mut self, bed: &Arc<Bed>, dice: &mut StdRng) -> Result<Target, String>;

    /// Whether it has taken effect, by what can be seen from outside; asked again for a
    /// while when it has not yet.
    async fn probe(&mut self, bed: &Arc<Bed>) -> Result<String, String>;

    /// Takes it back.
    async fn heal(&mut self, bed: &Arc<Bed>) -> Result<(), String>;
}

/// One name, what it is and what it needs.
pub struct Kind {
    /// Its name on the command line.
    pub name: &'static str,
    /// Whether it needs namespaces.
    pub net: bool,
    /// What is missing for it on this machine, if anything is.
    pub missing: fn() -> Option<String>,
    /// Makes one.
    pub make: fn() -> Box<dyn Nemesis>,
}

/// All of them.
pub const ALL: &[Kind] = &[
    kind("kill", kill::any),
    kind("kill-one", || kill::of(Whom::One)),
    kind("kill-follower", || kill::of(Whom::Follower)),
    kind("kill-leader", || kill::of(Whom::Leader)),
    kind("kill-majority", || kill::of(Whom::Majority)),
    kind("kill-all", || kill::of(Whom::All)),
    kind("storm", || Box::new(kill::Storm::default())),
    kind("pause-leader", || pause::of(pause::What::Leader)),
    kind("pause-group", || pause::of(pause::What::Group)),
    kind("pause-connector", || pause::of(pause::What::Connector)),
    kind("transfer", || Box::new(transfer::Transfer::default())),
    kind("partition", partition::any).on_net(),
    kind("partition-leader", || partition::of(Shape::Leader)).on_net(),
    kind("partition-ring", || partition::of(Shape::Ring)).on_net(),
    kind("partition-bridge", || partition::of(Shape::Bridge)).on_net(),
    kind("partition-oneway", || partition::of(Shape::OneWay)).on_net(),
    kind("flap", || Box::new(partition::Flap::default())).on_net(),
    kind("reset", || Box::new(partition::Reset::default())).on_net(),
    kind("forge-death", || Box::new(forge::Death::default())).on_net(),
    kind("loss", || Box::new(partition::Loss::default())).on_net(),
    kind("latency", || Box::new(latency::Latency::default())),
    kind("clock", || Box::new(clock::Jump::default())).needs(missing::compiler),
    kind("power", || Box::new(disk::Power::default())).needs(missing::power),
    kind("disk-full", || Box::new(disk::Full::default())).needs(missing::root),
    kind("fsync", || Box::new(disk::Fsync::default())).needs(missing::compiler),
    kind("damage", || Box::new(damage::Damage::default())),
    kind("cpu", || limits::of(limits::What::Cpu)).needs(|| limits::What::Cpu.missing()),
    kind("memory", || limits::of(limits::What::Memory)).needs(|| limits::What::Memory.missing()),
    kind("rabbit", || Box::new(broker::Rabbit)),
];

const fn kind(name: &'static str, make: fn() -> Box<dyn Nemesis>) -> Kind {
    Kind {
        name,
        net: false,
        missing: || None,
        make,
    }
}

impl Kind {
    const fn on_net(mut self) -> Kind {
        self.net = true;
        self
    }

    const fn needs(mut self, missing: fn() -> Option<String>) -> Kind {
        self.missing = missing;
        self
    }
}

/// The kind of this name.
///
/// # Errors
/// When there is none.
pub fn named(name: &str) -> Result<&'static Kind, String> {
    ALL.iter().find(|kind| kind.name == name).ok_or_else(|| {
        let names: Vec<&str> = ALL.iter().map(|kind| kind.name).collect();
        format!(
            "there is no nemesis {name:?}; there are none, {}",
            names.join(", ")
        )
    })
}

/// Beside which a forged death is believed.
const LETS_ELECT: &[&str] = &["forge-death", "clock", "pause-connector", "rabbit"];

/// Whether its probe looks for who reaches whom.
fn cuts(name: &str) -> bool {
    name.starts_with("partition") || matches!(name, "flap" | "reset")
}

/// Whether it ends processes.
fn ends(name: &str) -> bool {
    name.starts_with("kill") || matches!(name, "storm" | "power")
}

const DEAD: &str = "who is dead already is not killed";

/// Why two can't be at work at the same time, if they can't.
#[must_use]
pub fn apart(one: &str, other: &str) -> Option<&'static str> {
    let on_net = |name: &str| named(name).is_ok_and(|kind| kind.net);
    match (one, other) {
        ("latency", other) if on_net(other) => {
            Some("what goes through relays meets no rule between the members")
        }
        ("forge-death", other) if !LETS_ELECT.contains(&other) => {
            Some("the others have to believe the death, and to elect somebody at once")
        }
        ("power", "disk-full") => Some("each needs a disk of another kind"),
        ("kill-majority" | "kill-all", other) if one != other && ends(other) => Some(DEAD),
        ("power", "storm") => Some(DEAD),
        (one, other) if one != other && cuts(one) && cuts(other) => {
            Some("what the one has cut off is no proof of the other")
        }
        _ => None,
    }
}

/// Whether all of these exist and can be at work at the same time.
///
/// # Errors
/// When one doesn't, or two can't; says which and why.
pub fn together(names: &[&str]) -> Result<(), String> {
    for one in names {
        named(one)?;
        for other in names {
            if let Some(reason) = apart(one, other) {
                return Err(format!("not {one} and {other} together: {reason}"));
            }
        }
    }
    Ok(())
}

/// Goes through the steps of one nemesis, one after another.
pub async fn track(bed: Arc<Bed>, steps: Vec<Step>, begun: Instant, stop: Stop) {
    for step in steps {
        if stop.until(begun + Duration::from_millis(step.at_ms)).await {
            return;
        }
        let Ok(kind) = named(&step.nemesis) else {
            return;
        };
        let fault = fault(&bed, kind, &step, &stop).await;
        bed.journals.faults.note(|_| fault);
    }
}

/// One fault, from the wish to the healing.
async fn fault(bed: &Arc<Bed>, kind: &Kind, step: &Step, stop: &Stop) -> Fault {
    let mut nemesis = (kind.make)();
    let mut dice = StdRng::seed_from_u64(step.dice);
    let mut fault = Fault {
        nemesis: step.nemesis.clone(),
        target: String::new(),
        members: Vec::new(),
        begun: bed.clock.now(),
        effective: None,
        probe: String::new(),
        healing: None,
        healed: None,
    };
    let heals = Instant::now() + Duration::from_millis(step.lasts_ms);
    match nemesis.begin(bed, &mut dice).await {
        Ok(target) => (fault.target, fault.members) = (target.told, target.members),
        Err(problem) => fault.probe = format!("not done: {problem}"),
    }
    if fault.probe.is_empty() {
        prove(bed, nemesis.as_mut(), &mut fault).await;
        stop.until(heals).await;
    }
    fault.healing = Some(bed.clock.now());
    if bed.plan.mutant.as_deref() == Some("heals-nothing") {
        fault.healed = fault.healing;
        return fault;
    }
    match nemesis.heal(bed).await {
        Ok(()) => fault.healed = Some(bed.clock.now()),
        Err(problem) => bed.trouble(format!("{} can't be healed: {problem}", step.nemesis)),
    }
    fault
}

async fn prove(bed: &Arc<Bed>, nemesis: &mut dyn Nemesis, fault: &mut Fault) {
    let deadline = Instant::now() + SHOWS_WITHIN;
    loop {
        match nemesis.probe(bed).await {
            Ok(seen) => {
                fault.effective = Some(bed.clock.now());
                fault.probe = seen;
                return;
            }
            Err(seen) if Instant::now() > deadline => {
                fault.probe = format!("no effect: {seen}");
                return;
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_not_take_effect_together_is_kept_apart() {
        assert!(apart("latency", "partition").is_some());
        assert!(apart("power", "disk-full").is_some());
        assert!(apart("kill-all", "storm").is_some() && apart("storm", "kill").is_none());
        assert!(apart("flap", "partition").is_some() && apart("flap", "loss").is_none());
        assert!(apart("forge-death", "kill").is_some());
        assert!(apart("forge-death", "forge-death").is_none());
        assert!(apart("latency", "kill").is_none() && apart("kill", "partition").is_none());
        assert!(named("kill").is_ok() && named("none").is_err());
        assert!(together(&["kill", "partition"]).is_ok());
        assert!(together(&["storm", "power"]).is_err() && together(&["kill", "none"]).is_err());
    }
}
