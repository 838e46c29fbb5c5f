//! Network between members: connections to each peer, and the service on the peer port.

mod append_intake;
mod call_errors;
mod caller_check;
mod cluster_gate;
mod peer_incoming;
mod peer_link;
mod peers;
mod pipeline;
mod raft_messages;
mod round_trips;
mod server;
mod snapshot_transfer;

pub(crate) use append_intake::AppendIntake;
pub(crate) use call_errors::{CallEffect, call_effect};
pub(crate) use caller_check::CallerCheck;
pub(crate) use cluster_gate::ClusterGate;
pub use peer_incoming::{PeerCaller, PeerIncoming, PeerStream};
pub(crate) use peer_link::PeerLinkFactory;
pub(crate) use peers::{PeerConnections, PeerDialer, PeerDirectory};
pub(crate) use round_trips::RoundTrips;
pub(crate) use server::{MAX_INCOMING, PeerServer};

use std::time::Duration;

use tonic::transport::Server;

/// Largest command that is taken: a value of 1 MiB and what is around it.
pub(crate) const MAX_COMMAND: usize = 1_310_720;

/// Largest message that either side decodes. The log is read in parts of 2 MiB, a larger entry
/// alone.
pub(crate) const MAX_MESSAGE: usize = 4 * 1024 * 1024;

/// Size of the pieces in which a snapshot travels.
pub(crate) const CHUNK_BYTES: usize = 1024 * 1024;

/// Time that one piece of a snapshot may take.
const PIECE_PATIENCE: Duration = Duration::from_secs(20);

/// Bytes that one stream, of the log or of a snapshot, may have under way.
const STREAM_WINDOW: u32 = MAX_MESSAGE as u32;

/// Bytes that one connection may have under way: well above those of a stream, so that a full
/// stream leaves room for the others.
const CONNECTION_WINDOW: u32 = 4 * STREAM_WINDOW;

/// Returns a server for a peer port, with the windows that members count on.
pub fn peer_server() -> Server {
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
}
