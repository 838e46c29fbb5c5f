//! Check of a command by the member that proposes it.

use quorate_proto::command::FieldError;

use super::{BATCH_BYTES_MAX, BATCH_MAX, Command};
use crate::{
    BatchedPut, announced_programs, catalog, check_resource,
    field_errors::{error, in_batch},
    idempotent_send, keyring, kv, operations, progress, recorded_connections, takeovers,
};

impl Command {
    /// Checks the proposing member's own rules, whatever is there. Members that apply the command
    /// do not check this again: their rules may be those of another version, and they must all do
    /// the same.
    pub fn check(&self) -> Result<(), Vec<FieldError>> {
        let errors = match self {
            Command::PutResource {
                kind, name, spec, ..
            } => return check_resource(*kind, name, spec),
            Command::PutResources(puts) => return check_batch(puts),
            Command::PutKey { key, value, .. } => kv::check(key, Some(value)),
            Command::DeleteKey { key, .. } => kv::check(key, None),
            Command::AnnounceProgram {
                member,
                services,
                version,
                ..
            } => announced_programs::check(*member, services, version),
            Command::RecordTakeover(takeover) => takeovers::check(takeover),
            Command::RecordBrokerConnections {
                member,
                connections,
            } => recorded_connections::check(*member, connections),
            Command::OperateConnector { kind, .. } => operations::check(*kind),
            Command::AdvanceProgress { connectors, .. } => progress::check(connectors),
            Command::BeginSend(intent) => idempotent_send::check::key(&intent.key),
            Command::FinishSend(conclusion) => idempotent_send::check::outcome(&conclusion.outcome),
            Command::Keyring(command) => keyring::check(command),
            Command::ResealResources(resealed) => catalog::check_resealed(resealed),
            // The proposer of another promise knows the range of the timers; the state does not.
            Command::SetFailover { .. } => Vec::new(),
            Command::DeleteResource { .. }
            | Command::TakeOver { .. }
            | Command::Release { .. }
            | Command::FailoverApplied { .. }
            | Command::FailoverSettled { .. }
            | Command::CreateToken(_)
            | Command::RevokeToken { .. }
            | Command::CreateVoucherKey(_) => Vec::new(),
        };
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }
}

fn check_batch(puts: &[BatchedPut]) -> Result<(), Vec<FieldError>> {
    let bytes: usize = puts.iter().map(|it| it.spec.len()).sum();
    if puts.len() > BATCH_MAX || bytes > BATCH_BYTES_MAX {
        let value = format!("{} of them, {bytes} bytes", puts.len());
        let problem = format!(
            "must be at most {BATCH_MAX} with {BATCH_BYTES_MAX} bytes of JSON: put them in several calls"
        );
        return Err(vec![error("resources", value, problem)]);
    }
    for (position, it) in puts.iter().enumerate() {
        check_resource(it.kind, &it.name, &it.spec).map_err(|errors| in_batch(position, errors))?;
    }
    Ok(())
}
