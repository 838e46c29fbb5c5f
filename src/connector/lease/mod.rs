//! The lease: until when this member's connectors may act, and under which epoch.
//!
//! # Why nobody acts past it
//!
//! The holder may act until `(time of sending the last heartbeat round that a quorum
//! answered) + lease`. Each voter that answered that round stands by this leader for
//! longer than that (`election_max`, by its own clock, from the later moment at which it
//! received the round), and the lease is shorter by more than two clocks that differ by
//! 1 % can disagree. A successor needs a quorum of votes, every quorum shares a voter
//! with the one that answered, so nobody succeeds before the lease is over. Four things
//! carry that from the paragraph to the processes:
//!
//! 1. **The clock goes on while the host sleeps.** Deadlines are on CLOCK_BOOTTIME. The
//!    consensus stamps rounds with CLOCK_MONOTONIC, which stops in a suspended host, so
//!    the difference of the two clocks grows by the length of each suspension and never
//!    shrinks. [`Offsets`] converts a stamp with a difference that was sampled *before*
//!    the stamp was taken: it is at most the true one, so the converted deadline is at
//!    most the true one, and a host that slept wakes up with its lease over. No sample
//!    old enough means no lease.
//! 2. **One page.** Epoch and deadline stand in one shared page ([`Page`]) that every
//!    connector process maps read-only ([`View`]): one store renews them all, and a
//!    parent that is stopped, wedged or dead renews none. The page never pairs an epoch
//!    with the deadline of another one; see `page.rs`.
//! 3. **Asked late, and asked again.** A process asks the page immediately before each
//!    hand-off and each dead-letter publish, the parent asks it again immediately before
//!    the service is called, and the member that runs the service refuses epochs older
//!    than it has applied. An ack needs no lease: the service has succeeded, and to leave
//!    the message in the queue could only run it twice.
//! 4. **The deadline ends the process.** An operating-system thread in each process that
//!    may be consuming ends it when the deadline passes (`child/watchdog.rs`).
//!
//! The holder revokes the page as soon as it sees itself not leading. Wall clocks play no
//! part anywhere.

mod clock;
mod page;

pub use clock::{BootInstant, Offsets};
pub use page::{Lease, Page, View};
