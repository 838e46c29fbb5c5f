//! What is done to members, links and disks; each proves that it took effect, and heals.

pub mod broker;
pub mod clock;
pub mod damage;
pub mod device;
pub mod disk;
pub mod far;
pub mod forge;
pub mod kill;
pub mod latency;
pub mod limits;
pub mod links;
pub mod missing;
pub mod partition;
pub mod pause;
pub mod promises;
pub mod release;
pub mod stop;
pub mod stranded;
pub mod thin;
pub mod together;
pub mod transfer;

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use quorate_clock::Instant;
use rand::{SeedableRng, rngs::StdRng};

use crate::{bed::Bed, history::Fault, plan::Step, stop::Stop};
use kill::Whom;
use partition::Shape;
pub use together::{apart, together};

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
    /// How many members there have to be, where not every number will do.
    pub members: &'static [usize],
    /// What is missing for it on this machine, or in this program, if anything is.
    pub missing: fn(&Path) -> Option<String>,
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
    kind("stop-all", || Box::new(stop::StopAll::default())),
    kind("transfer", || Box::new(transfer::Transfer::default())),
    kind("partition", partition::any).on_net(),
    kind("partition-leader", || partition::of(Shape::Leader)).on_net(),
    kind("partition-ring", || partition::of(Shape::Ring)).on_net(),
    kind("partition-bridge", || partition::of(Shape::Bridge)).on_net(),
    kind("partition-oneway", || partition::of(Shape::OneWay)).on_net(),
    kind("flap", || Box::new(partition::Flap::default())).on_net(),
    kind("reset", || Box::new(partition::Reset::default())).on_net(),
    kind("forge-death", || Box::new(forge::Death::default())).on_net(),
    kind("release-held", || Box::new(release::Held::default())).on_net(),
    kind("loss", || Box::new(partition::Loss::default())).on_net(),
    kind("stranded", || Box::new(stranded::Stranded::default()))
        .on_net()
        .among(&[4, 5]),
    kind("latency", || Box::new(latency::Latency::default())),
    kind("far", || Box::new(far::Far::default())),
    kind("thin", || Box::new(thin::Thin::default()))
        .on_net()
        .needs(|_| missing::traffic_control()),
    kind("promises-differ", || Box::new(promises::Differ::default())).on_net(),
    kind("promise-changes", || Box::new(promises::Change::default()))
        .on_net()
        .needs(missing::cluster_set),
    kind("clock", || Box::new(clock::Jump::default())).needs(|_| missing::compiler()),
    kind("power", || Box::new(disk::Power::default())).needs(|_| missing::power()),
    kind("disk-full", || Box::new(disk::Full::default())).needs(|_| missing::root()),
    kind("slow-disk", || limits::of(limits::What::Disk)).needs(|_| limits::What::Disk.missing()),
    kind("fsync", || Box::new(disk::Fsync::default())).needs(|_| missing::compiler()),
    kind("damage", || Box::new(damage::Damage::default())),
    kind("cpu", || limits::of(limits::What::Cpu)).needs(|_| limits::What::Cpu.missing()),
    kind("memory", || limits::of(limits::What::Memory)).needs(|_| limits::What::Memory.missing()),
    kind("rabbit", || Box::new(broker::Rabbit)),
    kind("rabbit-held", || Box::new(broker::Held::default())),
];

const fn kind(name: &'static str, make: fn() -> Box<dyn Nemesis>) -> Kind {
    Kind {
        name,
        net: false,
        members: &[],
        missing: |_| None,
        make,
    }
}

impl Kind {
    const fn on_net(mut self) -> Kind {
        self.net = true;
        self
    }

    const fn among(mut self, members: &'static [usize]) -> Kind {
        self.members = members;
        self
    }

    const fn needs(mut self, missing: fn(&Path) -> Option<String>) -> Kind {
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

/// No blow but a state of things, from its beginning to the end of the run, in which all has
/// to go on; what other faults do is told as if it weren't there.
pub const STEADY: &[&str] = &["far", "thin"];

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
    match nemesis.begin(bed, &mut dice).await {
        Ok(target) => (fault.target, fault.members) = (target.told, target.members),
        Err(problem) => fault.probe = format!("not done: {problem}"),
    }
    // Some take a while to be done.
    let heals = Instant::now() + Duration::from_millis(step.lasts_ms);
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
