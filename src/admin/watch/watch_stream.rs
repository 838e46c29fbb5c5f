//! One reader's place in the history, and what comes next for it.
//!
//! Nothing is kept for a reader but its place: what it is sent is looked up in the state of
//! that moment, and no state is held while the connection takes it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use quorate_clock::Instant;
use quorate_state::{ChangesCompacted, State};
use tokio::{sync::watch, task::yield_now, time::sleep_until};

use super::{WatchSlot, compacted, event_lines};

/// A chunk is sent once it has this many bytes; one change alone may have more.
const CHUNK_BYTES: usize = 64 << 10;
/// So many changes are looked at before others get their turn.
const LOOK_MAX: usize = 2048;

/// What a reader follows.
pub(super) struct WatchSource {
    /// What the member has applied.
    pub states: watch::Receiver<Arc<State>>,
    /// Whether it is being stopped.
    pub draining: watch::Receiver<bool>,
    /// Whether it hears the leader, or as leader a quorum.
    pub hears: Box<dyn Fn() -> bool + Send>,
}

/// A reader.
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

/// What a look at the history gave.
#[derive(Debug, PartialEq, Eq)]
struct HistoryChunk {
    text: String,
    /// Everything up to here is in `text` or was not asked for.
    position: u64,
    /// Whether the look ended before the history did.
    more: bool,
}

impl WatchStream {
    /// One behind `after`. After `alive_every` of silence it gets a sign of life.
    pub fn new(
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

    /// The next chunk, as soon as there is one; `None` at the end.
    pub async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let chunk = match self.greeted {
            true => self.wait().await?,
            false => {
                self.greeted = true;
                event_lines::watching(self.position, self.source.states.borrow().revision())
            }
        };
        self.alive_at = Instant::now() + self.alive_every;
        Some(chunk)
    }

    async fn wait(&mut self) -> Option<Bytes> {
        let WatchSource {
            states,
            draining,
            hears,
        } = &mut self.source;
        loop {
            if *draining.borrow() {
                self.ended = true;
                return Some(event_lines::stopping(self.position));
            }
            let state = states.borrow_and_update().clone();
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
                    return Some(match hears() {
                        true => event_lines::alive(self.position),
                        false => event_lines::cut_off(self.position),
                    });
                }
            }
        }
    }
}

/// What comes after `position`, as far as one chunk goes.
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
