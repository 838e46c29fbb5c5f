//! What the members' programs carry in code.

use std::sync::Arc;

use imbl::OrdMap;
use quorate_proto::command::FieldError;
use quorate_resources::check_name;
use quorate_types::MemberId;

use super::{Answer, command::error};

/// The most services that one program can announce.
const SERVICES_MAX: usize = 1000;
/// The longest version, in bytes.
const VERSION_BYTES_MAX: usize = 64;

/// What one member said of its program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnnouncedProgram {
    /// The services that it carries in code, sorted.
    pub services: Vec<String>,
    /// Its version.
    pub version: String,
    /// The failover promise that its own settings name, if they name one. It counts only for
    /// the first member of a cluster; where it differs from the cluster's, people are told.
    pub failover_ms: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct AnnouncedPrograms {
    pub by_member: OrdMap<MemberId, Arc<AnnouncedProgram>>,
}

impl AnnouncedPrograms {
    /// Whether any member carries the service.
    pub fn carries(&self, service: &str) -> bool {
        let has = |it: &Arc<AnnouncedProgram>| {
            it.services
                .binary_search_by(|name| name.as_str().cmp(service))
                .is_ok()
        };
        self.by_member.values().any(has)
    }

    /// All services that members carry, sorted.
    pub fn services(&self) -> Vec<&str> {
        let mut all: Vec<&str> = self
            .by_member
            .values()
            .flat_map(|it| it.services.iter().map(String::as_str))
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    pub fn announce(&mut self, index: u64, member: MemberId, mut said: AnnouncedProgram) -> Answer {
        said.services.sort_unstable();
        said.services.dedup();
        let before = self.by_member.get(&member);
        if before.is_some_and(|before| **before == said) {
            return Answer::Done {
                revision: index,
                changed: false,
                created: false,
            };
        }
        let created = before.is_none();
        self.by_member.insert(member, Arc::new(said));
        Answer::done(index, created)
    }
}

pub(super) fn check(member: MemberId, services: &[String], version: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if member == 0 {
        errors.push(error("member", "0", "must be a member's id"));
    }
    if services.len() > SERVICES_MAX {
        let problem = format!("must be at most {SERVICES_MAX}");
        errors.push(error("services", services.len().to_string(), problem));
    }
    if version.len() > VERSION_BYTES_MAX {
        let problem = format!("must have at most {VERSION_BYTES_MAX} bytes");
        errors.push(error(
            "version",
            format!("{} bytes", version.len()),
            problem,
        ));
    }
    for name in services {
        if let Err(problem) = check_name(name) {
            errors.push(error("services", name, problem));
        }
    }
    errors
}
