//! Grants of someone, and what they allow.

use std::sync::LazyLock;

use quorate_resources::{AccessGrant, AccessVerb, Kind, Resource};

use super::{AccessRequirement, AccessScope};
use crate::Catalog;

/// What someone may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// The role `admin`: everything, resources of security kinds too.
    everything: bool,
    grants: Vec<AccessGrant>,
}

impl Permissions {
    /// Everything.
    pub fn everything() -> Permissions {
        Permissions {
            everything: true,
            grants: Vec::new(),
        }
    }

    /// What another member may ask for itself: to see the cluster.
    pub fn of_member() -> Permissions {
        Permissions {
            everything: false,
            grants: vec![on_cluster(&[AccessVerb::Read])],
        }
    }

    /// Collects what these roles grant. A role that is not there grants nothing.
    pub fn of_roles(roles: &[String], catalog: &Catalog) -> Permissions {
        let mut permissions = Permissions::default();
        for role in roles {
            permissions.add_role(role, catalog);
        }
        permissions
    }

    fn add_role(&mut self, role: &str, catalog: &Catalog) {
        if role == "admin" {
            self.everything = true;
        } else if let Some(grants) = built_in(role) {
            self.grants.extend_from_slice(grants);
        } else if let Some(stored) = catalog.get(Kind::AccessRole, role)
            && let Resource::AccessRole(it) = &*stored.resource
        {
            self.grants.extend_from_slice(&it.grants);
        }
    }

    /// Returns true if nothing is refused.
    pub fn is_everything(&self) -> bool {
        self.everything
    }

    /// Returns true if one of the grants allows it. What no single one allows is refused: a list
    /// that several would have to cover might show what lies between them.
    pub fn allow(&self, requirement: &AccessRequirement) -> bool {
        self.everything || self.grants.iter().any(|it| allows(it, requirement))
    }

    /// Returns true if whoever has these may give the others to someone.
    pub fn cover(&self, others: &Permissions) -> bool {
        self.everything || (!others.everything && self.cover_grants(&others.grants))
    }

    /// Returns true if whoever has these may put the grants into a role.
    pub fn cover_grants(&self, grants: &[AccessGrant]) -> bool {
        let verb_covered = |theirs: &AccessGrant, verb: AccessVerb| {
            let mut mine = self.grants.iter();
            mine.any(|mine| has_verb(mine, verb) && scope_within(theirs, mine, verb))
        };
        self.everything
            || grants
                .iter()
                .all(|it| it.verbs.iter().all(|verb| verb_covered(it, *verb)))
    }
}

/// Roles that every cluster has, but for `admin`. Part of the format.
fn built_in(role: &str) -> Option<&'static [AccessGrant]> {
    static ROLES: LazyLock<[(&str, Vec<AccessGrant>); 6]> = LazyLock::new(|| {
        use AccessVerb::{Delete, Invoke, Metrics, Operate, Read, Send, Transfer, Use, Write};
        [
            (
                "operator",
                vec![
                    on_cluster(&[Read, Transfer, Metrics]),
                    on_resources(&[Read, Operate]),
                ],
            ),
            (
                "editor",
                vec![
                    on_cluster(&[Read]),
                    on_resources(&[Read, Write, Delete, Use]),
                    AccessGrant {
                        prefixes: vec![String::new()],
                        ..on_cluster(&[Read, Write, Delete])
                    },
                ],
            ),
            (
                "reader",
                vec![on_cluster(&[Read, Metrics]), on_resources(&[Read])],
            ),
            (
                "caller",
                vec![AccessGrant {
                    services: vec!["*".into()],
                    ..on_cluster(&[Invoke])
                }],
            ),
            ("sender", vec![on_resources(&[Send])]),
            ("metrics", vec![on_cluster(&[Metrics])]),
        ]
    });
    let known = ROLES.iter().find(|(name, _)| *name == role);
    known.map(|(_, grants)| &**grants)
}

fn on_cluster(verbs: &[AccessVerb]) -> AccessGrant {
    AccessGrant {
        verbs: verbs.to_vec(),
        kinds: Vec::new(),
        names: Vec::new(),
        prefixes: Vec::new(),
        services: Vec::new(),
    }
}

fn on_resources(verbs: &[AccessVerb]) -> AccessGrant {
    AccessGrant {
        kinds: vec!["*".into()],
        ..on_cluster(verbs)
    }
}

fn allows(grant: &AccessGrant, requirement: &AccessRequirement) -> bool {
    let AccessRequirement { verb, scope } = requirement;
    has_verb(grant, *verb)
        && match scope {
            AccessScope::Cluster => is_unscoped(grant),
            AccessScope::Resource { kind, name } => {
                has_kind(grant, *kind, *verb)
                    && (grant.names.is_empty() || grant.names.iter().any(|it| matches(it, name)))
            }
            AccessScope::Kind(kind) => has_kind(grant, *kind, *verb) && has_all_names(grant),
            AccessScope::AllKinds => grant.kinds.iter().any(|it| it == "*") && has_all_names(grant),
            AccessScope::Key(key) => grant.prefixes.iter().any(|it| key.starts_with(it)),
            AccessScope::Prefix(prefix) => grant.prefixes.iter().any(|it| prefix.starts_with(it)),
            AccessScope::Service(name) => grant.services.iter().any(|it| matches(it, name)),
        }
}

fn has_verb(grant: &AccessGrant, verb: AccessVerb) -> bool {
    let has = |verb| grant.verbs.contains(&verb);
    has(verb)
        || (verb == AccessVerb::Transfer && has(AccessVerb::Cluster))
        || (verb == AccessVerb::Use && has(AccessVerb::Write))
}

fn is_unscoped(grant: &AccessGrant) -> bool {
    let AccessGrant {
        verbs: _,
        kinds,
        names,
        prefixes,
        services,
    } = grant;
    kinds.is_empty() && names.is_empty() && prefixes.is_empty() && services.is_empty()
}

/// `*` is no security kind, and of secrets it is what they are called: the rest is granted by the
/// kind's own name.
fn has_kind(grant: &AccessGrant, kind: Kind, verb: AccessVerb) -> bool {
    let is_of_all = match kind {
        Kind::Secret => verb == AccessVerb::Read,
        other => !other.is_security(),
    };
    let is_it = |it: &String| it == kind.as_str() || (it == "*" && is_of_all);
    grant.kinds.iter().any(is_it)
}

fn has_all_names(grant: &AccessGrant) -> bool {
    grant.names.is_empty() || grant.names.iter().any(|it| it == "*")
}

/// Returns true if whatever `theirs` reaches with this verb is reached by `mine`. Where that would need a proof it
/// is taken not to be.
fn scope_within(theirs: &AccessGrant, mine: &AccessGrant, verb: AccessVerb) -> bool {
    if is_unscoped(theirs) {
        return is_unscoped(mine);
    }
    let kinds = theirs.kinds.iter().all(|it| match it.parse::<Kind>() {
        Ok(kind) => has_kind(mine, kind, verb),
        Err(_) => mine.kinds.contains(it),
    });
    let names = theirs.kinds.is_empty()
        || has_all_names(mine)
        || (!theirs.names.is_empty() && patterns_within(&theirs.names, &mine.names));
    let prefixes = theirs
        .prefixes
        .iter()
        .all(|it| mine.prefixes.iter().any(|mine| it.starts_with(mine)));
    kinds && names && prefixes && patterns_within(&theirs.services, &mine.services)
}

fn patterns_within(theirs: &[String], mine: &[String]) -> bool {
    let is_within = |it: &String, mine: &String| {
        it == mine
            || match mine.strip_suffix('*') {
                // What begins like it, whatever stars follow.
                Some(start) if !start.contains('*') => {
                    it.split('*').next().is_some_and(|it| it.starts_with(start))
                }
                _ => !it.contains('*') && matches(mine, it),
            }
    };
    theirs
        .iter()
        .all(|it| mine.iter().any(|mine| is_within(it, mine)))
}

/// Returns true if the text is of the pattern, in which `*` is any characters.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut left) = text.strip_prefix(start) else {
        return false;
    };
    let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*').filter(|it| !it.is_empty()) {
        // The first place leaves the most for what follows.
        let Some((_, after)) = left.split_once(part) else {
            return false;
        };
        left = after;
    }
    left.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn star_in_pattern_is_any_characters() {
        for (pattern, text) in [
            ("orders", "orders"),
            ("*", ""),
            ("*", "orders"),
            ("orders-*", "orders-"),
            ("orders-*", "orders-a"),
            ("*-in", "orders-in"),
            ("a*b*c", "aXbXbYc"),
            ("a**b", "ab"),
            ("*a*", "xax"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("orders", "orders-a"),
            ("orders-*", "order"),
            ("orders-*", "my-orders-a"),
            ("*-in", "orders-in-a"),
            ("a*b*c", "aXcXb"),
            ("ab*b", "ab"),
            ("", "a"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn narrower_pattern_is_covered_wider_is_not() {
        let within = |theirs: &str, mine: &str| patterns_within(&[theirs.into()], &[mine.into()]);
        for (theirs, mine) in [
            ("a", "a"),
            ("a", "*"),
            ("*", "*"),
            ("a-*", "a*"),
            ("a-b", "a-*"),
            ("a-*-c", "a-*"),
            ("a-b-c", "a-*-c"),
        ] {
            assert!(within(theirs, mine), "{theirs} {mine}");
        }
        for (theirs, mine) in [("*", "a*"), ("a*", "a-*"), ("a-*", "a-*-c"), ("b", "a*")] {
            assert!(!within(theirs, mine), "{theirs} {mine}");
        }
    }
}
