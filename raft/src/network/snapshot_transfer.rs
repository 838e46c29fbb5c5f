//! Transfer of snapshots between members: a header, then the data in pieces.
//!
//! There is no deadline for the whole, which may be large and the disk slow; each piece has
//! one, and so has the installation at the end, by its size. A connection that is dead is
//! noticed by its keep-alive.

use std::{io, sync::Arc, time::Duration};

use openraft::{StorageError, errors::StreamingError, type_config::TypeConfigExt};
use quorate_proto::peer::{self, snapshot_chunk::Part};
use tokio::{sync::mpsc, task, time::timeout};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{Status, Streaming};

use super::{
    CHUNK_BYTES, PIECE_PATIENCE,
    call_errors::{rpc_error, stalled},
    peers::PeerClient,
    raft_messages::{micros, vote},
};
use crate::storage::{
    FileSnapshot, SnapshotFile, SnapshotStore,
    convert::{self, MalformedProto},
    raft_types::{StoredVote, Types},
};

/// Pace at which a received snapshot must be installed: within a minute, and a second for each
/// of so many bytes.
const INSTALL_BYTES_PER_SECOND: u64 = 1024 * 1024;

/// Sends a snapshot, waits until it is installed, and returns the other side's vote.
pub(super) async fn send(
    mut client: PeerClient,
    own_vote: StoredVote,
    snapshot: FileSnapshot,
    lease: Duration,
) -> Result<StoredVote, StreamingError<Types>> {
    let file = snapshot.snapshot;
    let header = peer::SnapshotHeader {
        ballot: Some(convert::vote_to_proto(&own_vote)),
        snapshot_id: file.path().display().to_string(),
        length: file.length(),
        crc32c: file.crc32c(),
        lease_us: micros(lease),
        ..convert::snapshot_meta_to_proto(&snapshot.meta)
    };
    let (tx, rx) = mpsc::channel(2);
    let call = client.install_snapshot(ReceiverStream::new(rx));
    tokio::pin!(call);
    let install = Duration::from_secs(60 + file.length() / INSTALL_BYTES_PER_SECOND);
    let answer = tokio::select! {
        answer = &mut call => answer,
        fed = feed(&file, header, tx) => {
            fed?;
            match timeout(install, call).await {
                Ok(answer) => answer,
                Err(_) => return Err(stalled(install).into()),
            }
        }
    };
    let answer = answer.map_err(|s| rpc_error(&s))?.into_inner();
    Ok(vote(answer.ballot)?)
}

async fn feed(
    file: &SnapshotFile,
    header: peer::SnapshotHeader,
    tx: mpsc::Sender<peer::SnapshotChunk>,
) -> Result<(), StreamingError<Types>> {
    let put = async |part| {
        let chunk = peer::SnapshotChunk { part: Some(part) };
        match timeout(PIECE_PATIENCE, tx.send(chunk)).await {
            Ok(Ok(())) => Ok(()),
            // The call is over and has the reason.
            Ok(Err(_)) => std::future::pending().await,
            Err(_) => Err(stalled(PIECE_PATIENCE)),
        }
    };
    put(Part::Header(header)).await?;
    let mut offset = 0;
    while offset < file.length() {
        let reader = file.clone();
        let read = task::spawn_blocking(move || reader.read_at(offset, CHUNK_BYTES)).await;
        let data = read.unwrap_or_else(|e| Err(io::Error::other(e)));
        let data = data.map_err(|e| {
            StorageError::read_snapshot(None, Types::err_from_string(e.to_string()))
        })?;
        offset += data.len() as u64;
        put(Part::Data(data)).await?;
    }
    Ok(())
}

impl From<MalformedProto> for Status {
    fn from(e: MalformedProto) -> Self {
        Status::invalid_argument(e.to_string())
    }
}

/// Receives a snapshot into a temporary file, checked for length and checksum.
pub(super) async fn receive(
    first: peer::SnapshotHeader,
    mut chunks: Streaming<peer::SnapshotChunk>,
    snapshots: &Arc<SnapshotStore>,
) -> Result<FileSnapshot, Status> {
    let failed = |e: io::Error| Status::internal(format!("the snapshot can't be stored: {e}"));
    let meta = convert::snapshot_meta_from_proto(&first)?;
    let incoming = snapshots.receive(meta.clone(), first.length, first.crc32c);
    let mut incoming = incoming.await.map_err(failed)?;
    while let Some(part) = next(&mut chunks).await? {
        match part {
            Part::Data(data) => incoming.write(data).await.map_err(failed)?,
            Part::Header(_) => return Err(Status::invalid_argument("a second header came")),
        }
    }
    Ok(FileSnapshot {
        meta,
        snapshot: incoming.finish().await.map_err(failed)?,
    })
}

/// Returns the next piece; `None` at the end.
pub(super) async fn next(
    chunks: &mut Streaming<peer::SnapshotChunk>,
) -> Result<Option<Part>, Status> {
    match timeout(PIECE_PATIENCE, chunks.next()).await {
        Ok(None) => Ok(None),
        Ok(Some(chunk)) => match chunk?.part {
            Some(part) => Ok(Some(part)),
            None => Err(Status::invalid_argument("an empty piece came")),
        },
        Err(_) => Err(Status::deadline_exceeded(format!(
            "no piece of the snapshot came for {PIECE_PATIENCE:?}"
        ))),
    }
}
