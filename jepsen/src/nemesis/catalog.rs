//! Catalog of the nemeses: the name of each, what it needs, and how one is made.

use std::path::Path;

use super::{
    broker, clock,
    contract::Nemesis,
    damage, disk,
    error::NemesisChoiceError,
    far, forge,
    kill::{self, Whom},
    latency, limits, missing,
    partition::{self, Shape},
    pause, promises, release, stop, stranded, thin, transfer,
};

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
pub fn named(name: &str) -> Result<&'static Kind, NemesisChoiceError> {
    ALL.iter().find(|kind| kind.name == name).ok_or_else(|| {
        let names: Vec<&str> = ALL.iter().map(|kind| kind.name).collect();
        NemesisChoiceError::Unknown {
            name: name.to_owned(),
            known: names.join(", "),
        }
    })
}
