//! Member to member: cached connections to each peer, for what is urgent, for the log and for
//! snapshots, and the service on the peer port.

mod call_errors;
mod cluster_gate;
mod peer_link;
mod peers;
mod pipeline;
mod round_trips;
mod server;
mod snapshot_transfer;

pub(crate) use call_errors::{CallEffect, call_effect};
pub(crate) use cluster_gate::ClusterGate;
pub(crate) use peer_link::PeerLinkFactory;
pub(crate) use peers::{PeerConnections, PeerDialer, PeerDirectory};
pub(crate) use round_trips::RoundTrips;
pub(crate) use server::{MAX_INCOMING, PeerServer};

use tonic::transport::Server;

use crate::{node::ElectionBallot, storage::raft_types::StoredVote};

/// The largest command that is taken: a value of 1 MiB and what is around it.
pub(crate) const MAX_COMMAND: usize = 1_310_720;

/// What either side decodes at most. The log is read in parts of 2 MiB, a larger entry alone.
pub(crate) const MAX_MESSAGE: usize = 4 * 1024 * 1024;

/// A snapshot travels in pieces of this size.
pub(crate) const CHUNK_BYTES: usize = 1024 * 1024;

/// What one stream, of the log or of a snapshot, may have under way.
const STREAM_WINDOW: u32 = MAX_MESSAGE as u32;

/// What one connection may have under way: well above a stream's, so that one that is full
/// leaves room for the others.
const CONNECTION_WINDOW: u32 = 4 * STREAM_WINDOW;

/// What a peer port is served by: a server with the windows that members count on.
pub fn peer_server() -> Server {
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
}

pub(crate) fn ballot_of(vote: &StoredVote) -> ElectionBallot {
    ElectionBallot {
        term: vote.leader_id.term,
        member: vote.leader_id.node_id,
        committed: vote.committed,
    }
}
