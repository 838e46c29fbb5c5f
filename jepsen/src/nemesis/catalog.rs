//! Catalog of the nemeses: the name of each, what it needs, and how one is made.

use std::path::Path;

use super::{
    broker_faults,
    contract::Nemesis,
    disk_faults,
    error::NemesisChoiceError,
    failover_promises, far_members, forged_death, held_release,
    kill::{self, VictimChoice},
    leadership_transfer, link_latency, log_damage, orderly_stop,
    partition::{self, PartitionShape},
    pause, requirements, resource_limits, stranded_leader, thin_links, wall_clock,
};

/// Nemesis by name, and what it needs.
pub struct NemesisKind {
    /// The name on the command line.
    pub name: &'static str,
    /// The nemesis needs namespaces.
    pub net: bool,
    /// The numbers of members that will do, where not every number will.
    pub members: &'static [usize],
    /// Returns what is missing for it on this machine, or in this program, if anything is.
    pub missing: fn(&Path) -> Option<String>,
    /// Makes a nemesis of this kind.
    pub make: fn() -> Box<dyn Nemesis>,
}

/// Every nemesis.
pub const ALL: &[NemesisKind] = &[
    kind("kill", kill::drawn),
    kind("kill-one", || kill::new(VictimChoice::One)),
    kind("kill-follower", || kill::new(VictimChoice::Follower)),
    kind("kill-leader", || kill::new(VictimChoice::Leader)),
    kind("kill-majority", || kill::new(VictimChoice::Majority)),
    kind("kill-all", || kill::new(VictimChoice::All)),
    kind("storm", || Box::new(kill::KillStorm::default())),
    kind("pause-leader", || pause::new(pause::PauseTarget::Leader)),
    kind("pause-group", || pause::new(pause::PauseTarget::Group)),
    kind("pause-connector", || {
        pause::new(pause::PauseTarget::Connector)
    }),
    kind("stop-all", || Box::new(orderly_stop::StopAll::default())),
    kind("transfer", || {
        Box::new(leadership_transfer::LeadershipTransfer::default())
    }),
    kind("partition", partition::drawn).on_net(),
    kind("partition-leader", || {
        partition::new(PartitionShape::Leader)
    })
    .on_net(),
    kind("partition-ring", || partition::new(PartitionShape::Ring)).on_net(),
    kind("partition-bridge", || {
        partition::new(PartitionShape::Bridge)
    })
    .on_net(),
    kind("partition-oneway", || {
        partition::new(PartitionShape::OneWay)
    })
    .on_net(),
    kind("flap", || Box::new(partition::LinkFlap::default())).on_net(),
    kind("reset", || Box::new(partition::ConnectionReset::default())).on_net(),
    kind("forge-death", || {
        Box::new(forged_death::ForgedDeath::default())
    })
    .on_net(),
    kind("release-held", || {
        Box::new(held_release::HeldRelease::default())
    })
    .on_net(),
    kind("loss", || Box::new(partition::PacketLoss::default())).on_net(),
    kind("stranded", || {
        Box::new(stranded_leader::StrandedLeader::default())
    })
    .on_net()
    .among(&[4, 5]),
    kind("latency", || Box::new(link_latency::LinkLatency::default())),
    kind("far", || Box::new(far_members::FarMembers::default())),
    kind("thin", || Box::new(thin_links::ThinLinks::default()))
        .on_net()
        .needs(|_| requirements::traffic_control()),
    kind("promises-differ", || {
        Box::new(failover_promises::DifferingPromises::default())
    })
    .on_net(),
    kind("promise-changes", || {
        Box::new(failover_promises::PromiseChange::default())
    })
    .on_net()
    .needs(requirements::cluster_set),
    kind("clock", || Box::new(wall_clock::ClockJump::default()))
        .needs(|_| requirements::compiler()),
    kind("power", || Box::new(disk_faults::PowerCut::default())).needs(|_| requirements::power()),
    kind("disk-full", || Box::new(disk_faults::FullDisk::default()))
        .needs(|_| requirements::root()),
    kind("slow-disk", || {
        resource_limits::new(resource_limits::LimitedResource::Disk)
    })
    .needs(|_| resource_limits::LimitedResource::Disk.missing()),
    kind("fsync", || Box::new(disk_faults::FsyncFailure::default()))
        .needs(|_| requirements::compiler()),
    kind("damage", || Box::new(log_damage::LogDamage::default())),
    kind("cpu", || {
        resource_limits::new(resource_limits::LimitedResource::Cpu)
    })
    .needs(|_| resource_limits::LimitedResource::Cpu.missing()),
    kind("memory", || {
        resource_limits::new(resource_limits::LimitedResource::Memory)
    })
    .needs(|_| resource_limits::LimitedResource::Memory.missing()),
    kind("rabbit", || Box::new(broker_faults::BrokerCrash)),
    kind("rabbit-held", || {
        Box::new(broker_faults::BrokerStall::default())
    }),
];

const fn kind(name: &'static str, make: fn() -> Box<dyn Nemesis>) -> NemesisKind {
    NemesisKind {
        name,
        net: false,
        members: &[],
        missing: |_| None,
        make,
    }
}

impl NemesisKind {
    const fn on_net(mut self) -> NemesisKind {
        self.net = true;
        self
    }

    const fn among(mut self, members: &'static [usize]) -> NemesisKind {
        self.members = members;
        self
    }

    const fn needs(mut self, missing: fn(&Path) -> Option<String>) -> NemesisKind {
        self.missing = missing;
        self
    }
}

/// Returns the kind of this name.
pub fn named(name: &str) -> Result<&'static NemesisKind, NemesisChoiceError> {
    ALL.iter().find(|kind| kind.name == name).ok_or_else(|| {
        let names: Vec<&str> = ALL.iter().map(|kind| kind.name).collect();
        NemesisChoiceError::Unknown {
            name: name.to_owned(),
            known: names.join(", "),
        }
    })
}
