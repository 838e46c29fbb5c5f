//! How each series is drawn: a hue per system, a shade per setting, a dash per measure.

use crate::{
    plan::{Case, Setup, What},
    quorate::Fence,
};

/// A line's looks.
pub struct Style {
    pub color: String,
    pub dash: &'static str,
    pub width: f64,
    /// What is plotted.
    pub measure: &'static str,
    /// Its name in the legend.
    pub name: String,
}

/// Mid-tones, which stand out from white and from black.
pub fn style(case: &Case) -> Style {
    let (hue, light) = match case.setup {
        Setup::Quorate { channels: 100, .. } => (265, 62),
        Setup::Quorate { channels: 10, .. } => (240, 66),
        Setup::Quorate {
            failover_ms: 200, ..
        } => (190, 45),
        Setup::Quorate {
            failover_ms: 1000, ..
        } => (280, 55),
        Setup::Quorate { .. } => (215, 55),
        Setup::Etcd { heartbeat: 100, .. } => (20, 52),
        Setup::Etcd { election: 200, .. } => (38, 48),
        Setup::Etcd { .. } => (50, 42),
        Setup::ZooKeeper { tick: 2000 } => (140, 38),
        Setup::ZooKeeper { .. } => (95, 40),
        Setup::Redis { down_after: 30_000 } => (345, 50),
        Setup::Redis { .. } => (325, 58),
    };
    let (measure, what, dash) = match case.what {
        What::Message(Fence::Exclusive) => ("message", "message", ""),
        What::Message(Fence::Lease) => ("message", "message", "7 3"),
        What::Message(Fence::Management) => ("message", "message", "2 2"),
        What::Write => ("write", "write", ""),
        What::Lock(_) => ("lock", "next holder", "7 3"),
    };
    Style {
        color: format!("hsl({hue} 75% {light}%)"),
        dash,
        width: if case.system() == "Quorate" { 2.2 } else { 1.5 },
        measure,
        name: format!(
            "{} {}: {what}",
            case.system().trim_end_matches(" + Sentinel"),
            case.setting()
        ),
    }
}
