//! The stream of one reader: its place in the history, and the changes that come next.
//!
//! Nothing is kept for a reader but its place: each chunk is looked up in the state of that moment,
//! and no state is held while the connection takes the chunk.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use quorate_clock::Instant;
use quorate_state::{ChangesCompacted, State};
use tokio::{sync::watch, task::yield_now, time::sleep_until};

use super::{WatchSlot, compacted, event_lines};

/// The bytes after which a chunk is sent; one change alone may have more.
const CHUNK_BYTES: usize = 64 << 10;
/// The number of changes that are looked at before other tasks get their turn.
const LOOK_MAX: usize = 2048;

/// The sources that a reader follows.
pub(super) struct WatchSource {
    /// The applied state.
    pub states: watch::Receiver<Arc<State>>,
    /// Becomes true when the member is being stopped.
    pub draining: watch::Receiver<bool>,
    /// True while the member hears the leader, or as leader a quorum.
    pub hears: Box<dyn Fn() -> bool + Send>,
    /// True while the reader may read what it watches, as of a state.
    pub allowed: Box<dyn Fn(&State) -> bool + Send>,
}

/// A reader's stream.
pub(super) struct WatchStream {
    source: WatchSource,
    prefix: String,
    /// Everything up to here was sent, or was not asked for.
    position: u64,
    greeted: bool,
    ended: bool,
    alive_every: Duration,
    alive_at: Instant,
    _slot: WatchSlot,
}

/// The result of a look at the history.
#[derive(Debug, PartialEq, Eq)]
struct HistoryChunk {
    text: String,
    /// Everything up to here is in `text` or was not asked for.
    position: u64,
    /// True if the look ended before the history did.
    more: bool,
}

impl WatchStream {
    /// Starts a stream behind `after`. After `alive_every` of silence the reader gets a sign of
    /// life.
    pub(super) fn new(
        source: WatchSource,
        prefix: String,
        after: u64,
        alive_every: Duration,
        slot: WatchSlot,
    ) -> WatchStream {
        WatchStream {
            source,
            prefix,
            position: after,
            greeted: false,
            ended: false,
            alive_every,
            alive_at: Instant::now() + alive_every,
            _slot: slot,
        }
    }

    /// Returns the next chunk, as soon as there is one; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let chunk = if self.greeted {
            self.wait().await?
        } else {
            self.greeted = true;
            event_lines::watching(self.position, self.source.states.borrow().revision())
        };
        self.alive_at = Instant::now() + self.alive_every;
        Some(chunk)
    }

    async fn wait(&mut self) -> Option<Bytes> {
        let WatchSource {
            states,
            draining,
            hears,
            allowed,
        } = &mut self.source;
        loop {
            if *draining.borrow() {
                self.ended = true;
                return Some(event_lines::stopping(self.position));
            }
            let state = states.borrow_and_update().clone();
            if !allowed(&state) {
                self.ended = true;
                return Some(event_lines::forbidden(&self.prefix));
            }
            let found = match look(&state, &self.prefix, self.position) {
                Ok(found) => found,
                Err(gone) => {
                    self.ended = true;
                    return Some(event_lines::compacted(&compacted(self.position, gone)));
                }
            };
            drop(state);
            self.position = found.position;
            if !found.text.is_empty() {
                return Some(found.text.into());
            }
            if found.more {
                yield_now().await;
                continue;
            }
            tokio::select! {
                changed = states.changed() => changed.ok()?,
                // an end without a word: then the member itself has ended
                stopping = draining.wait_for(|it| *it) => {
                    stopping.ok()?;
                }
                () = sleep_until(self.alive_at) => {
                    // A token may have expired meanwhile.
                    if !allowed(&states.borrow()) {
                        continue;
                    }
                    return Some(if hears() {
                        event_lines::alive(self.position)
                    } else {
                        event_lines::cut_off(self.position)
                    });
                }
            }
        }
    }
}

/// Collects the changes after `position`, as far as one chunk goes.
fn look(state: &State, prefix: &str, position: u64) -> Result<HistoryChunk, ChangesCompacted> {
    let mut found = HistoryChunk {
        text: String::new(),
        position,
        more: false,
    };
    for (looked, change) in state.kv().changelog().after(position)?.enumerate() {
        if looked == LOOK_MAX || found.text.len() >= CHUNK_BYTES {
            found.more = true;
            return Ok(found);
        }
        if change.key.starts_with(prefix) {
            event_lines::change(&mut found.text, change);
        }
        found.position = change.revision;
    }
    // what came since the last change of a key was no change of a key
    found.position = found.position.max(state.revision());
    Ok(found)
}
