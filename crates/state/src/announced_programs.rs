//! Programs of the members: the services that they carry in code, and their versions.

use std::sync::Arc;

use imbl::OrdMap;
use quorate_proto::command::FieldError;
use quorate_resources::check_name;
use quorate_types::MemberId;

use super::{Answer, field_errors::error};

/// Most services that one program can announce.
const SERVICES_MAX: usize = 1000;
/// Longest version, in bytes.
const VERSION_BYTES_MAX: usize = 64;

/// Announcement of one member's program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnnouncedProgram {
    /// Services that it carries in code, sorted.
    pub services: Vec<String>,
    /// Version of the program.
    pub version: String,
    /// Failover promise that the member's own settings name, if they name one. It counts only for
    /// the first member of a cluster; where it differs from the cluster's, operators are warned.
    pub failover_ms: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct AnnouncedPrograms {
    pub by_member: OrdMap<MemberId, Arc<AnnouncedProgram>>,
}

impl AnnouncedPrograms {
    /// Returns true when any member carries the service.
    pub(crate) fn carries(&self, service: &str) -> bool {
        let has = |it: &Arc<AnnouncedProgram>| {
            it.services
                .binary_search_by(|name| name.as_str().cmp(service))
                .is_ok()
        };
        self.by_member.values().any(has)
    }

    /// Returns all services that members carry, sorted.
    pub(crate) fn services(&self) -> Vec<&str> {
        let mut all: Vec<&str> = self
            .by_member
            .values()
            .flat_map(|it| it.services.iter().map(String::as_str))
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    pub(crate) fn announce(
        &mut self,
        index: u64,
        member: MemberId,
        mut program: AnnouncedProgram,
    ) -> Answer {
        program.services.sort_unstable();
        program.services.dedup();
        let before = self.by_member.get(&member);
        if before.is_some_and(|before| **before == program) {
            return Answer::Done {
                revision: index,
                changed: false,
                created: false,
            };
        }
        let created = before.is_none();
        self.by_member.insert(member, Arc::new(program));
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
            errors.push(error("services", name, problem.to_string()));
        }
    }
    errors
}
