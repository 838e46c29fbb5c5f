//! Deciders of takeovers and of target states, for tests that drive them over a made-up group.

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
