//! What decides who takes over and how processes stand, for tests that drive it over a group
//! that they make up.

pub use super::{
    connector_spec::{ConnectorKey, ConnectorSpec},
    connectors_view::Reign,
    reign_status::{LeaseGrant, ReignStatus},
    takeover_policy::{
        ActPermit, DrainOrder, ProposalOutcome, ReleaseProposal, TakeoverDecision, TakeoverPolicy,
    },
    target_state::{PlacementInputs, TargetState},
};
pub use quorate_ipc::lease::{BootInstant, ClockOffsets};
