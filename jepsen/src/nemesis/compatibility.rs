//! Compatibility of nemeses: which can be at work together, and among how many members.

use super::{catalog::named, error::NemesisChoiceError};

/// Nemeses beside which a forged death is believed. Each is looked at in both orders.
const LETS_ELECT: &[&str] = &["forge-death", "clock", "pause-connector", "rabbit"];

/// Returns whether the probe of a nemesis looks for who reaches whom.
fn cuts(name: &str) -> bool {
    name.starts_with("partition")
        || matches!(
            name,
            "flap" | "reset" | "release-held" | "stranded" | "promises-differ" | "promise-changes"
        )
}

/// Returns whether a nemesis ends processes.
fn ends(name: &str) -> bool {
    name.starts_with("kill") || matches!(name, "storm" | "power" | "stop-all")
}

const DEAD: &str = "who is dead already is not killed, nor paused";

/// Returns why two nemeses can't be at work at the same time, if they can't.
pub fn apart(one: &str, other: &str) -> Option<&'static str> {
    let on_net = |name: &str| named(name).is_ok_and(|kind| kind.net);
    match (one, other) {
        ("latency" | "far", other) if on_net(other) => {
            Some("what goes through relays meets no rule between the members")
        }
        ("latency", "far") => Some("the same relays make the links slow for both"),
        ("forge-death", other) if one != other && !LETS_ELECT.contains(&other) => {
            Some("the others have to believe the death, and to elect somebody at once")
        }
        ("release-held", other) if one != other && other != "clock" => {
            Some("a leader has to stay in office while it lets go, and to be believed dead then")
        }
        ("power", "disk-full") => Some("each needs a disk of another kind"),
        ("slow-disk", "disk-full") => Some("what fills up is in memory, and never slow"),
        ("kill-majority" | "kill-all", other) if one != other && ends(other) => Some(DEAD),
        ("kill-majority" | "kill-all", "latency") => {
            Some("nothing goes through links between which all but one are dead")
        }
        ("power", "storm") => Some(DEAD),
        ("rabbit-held", other) if ends(other) || other == "rabbit" => Some(DEAD),
        ("promises-differ" | "promise-changes", other) if ends(other) => {
            Some("each waits for a leader that the other takes away")
        }
        (one, other) if one != other && cuts(one) && cuts(other) => {
            Some("what the one has cut off is no proof of the other")
        }
        _ => None,
    }
}

/// Checks that all of these exist and can be at work at the same time.
pub fn together(names: &[&str]) -> Result<(), NemesisChoiceError> {
    for one in names {
        named(one)?;
        for other in names {
            if let Some(reason) = apart(one, other) {
                return Err(NemesisChoiceError::Apart {
                    one: (*one).to_owned(),
                    other: (*other).to_owned(),
                    reason,
                });
            }
        }
    }
    Ok(())
}

/// Checks that all of these can be had among so many members.
pub fn among(names: &[&str], members: usize) -> Result<(), NemesisChoiceError> {
    for name in names {
        let fits = named(name)?.members;
        if !fits.is_empty() && !fits.contains(&members) {
            let fits: Vec<String> = fits.iter().map(usize::to_string).collect();
            return Err(NemesisChoiceError::Members {
                name: (*name).to_owned(),
                fits: fits.join(" or "),
                members,
            });
        }
    }
    Ok(())
}

/// Returns the number of members that was drawn, or the least that these can be had among.
pub fn members(names: &[&str], drawn: usize) -> usize {
    let fits = |count: &usize| among(names, *count).is_ok();
    let first = [drawn, 3, 4, 5].into_iter().find(fits);
    first.unwrap_or(drawn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nemeses_without_effect_together_are_kept_apart() {
        assert!(apart("latency", "partition").is_some());
        assert!(apart("power", "disk-full").is_some());
        assert!(apart("kill-all", "storm").is_some() && apart("storm", "kill").is_none());
        assert!(apart("flap", "partition").is_some() && apart("flap", "loss").is_none());
        assert!(apart("forge-death", "kill").is_some());
        assert!(apart("forge-death", "forge-death").is_none());
        assert!(apart("kill-majority", "latency").is_some());
        assert!(apart("latency", "kill").is_none() && apart("kill", "partition").is_none());
        assert!(named("kill").is_ok() && named("none").is_err());
        assert!(together(&["kill", "partition"]).is_ok());
        assert!(together(&["storm", "power"]).is_err() && together(&["kill", "none"]).is_err());
    }

    #[test]
    fn lasting_nemeses_combine_with_momentary_ones() {
        assert!(together(&["far", "kill-leader"]).is_ok());
        assert!(together(&["thin", "kill-leader"]).is_ok());
        assert!(together(&["slow-disk", "partition"]).is_ok());
        for other in ["latency", "stranded", "thin", "promises-differ"] {
            assert!(together(&["far", other]).is_err(), "{other}");
        }
        assert!(together(&["slow-disk", "disk-full"]).is_err());
        assert!(together(&["promise-changes", "promises-differ"]).is_err());
        assert!(together(&["promise-changes", "kill-leader"]).is_err());
    }

    #[test]
    fn a_release_is_held_alone() {
        assert!(together(&["release-held", "clock"]).is_ok());
        for other in ["kill", "rabbit", "loss", "fsync", "transfer"] {
            assert!(together(&["release-held", other]).is_err(), "{other}");
            assert!(together(&[other, "release-held"]).is_err(), "{other}");
        }
    }

    #[test]
    fn a_leader_is_stranded_among_four_or_five() {
        assert!(among(&["stranded"], 3).is_err() && among(&["stranded"], 4).is_ok());
        assert!(among(&["kill", "far"], 3).is_ok());
        assert_eq!(members(&["kill"], 3), 3);
        assert_eq!(members(&["kill", "stranded"], 3), 4);
        assert_eq!(members(&["stranded"], 5), 5);
    }
}
