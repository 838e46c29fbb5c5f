//! Listener that is closed first when its process dies.
//!
//! Linux closes the files of a killed process one after the other, the one with the highest
//! number first (they are queued as work for the dying thread, which is done last in, first
//! out). A listener is opened early, so it is closed late: by then the closing of everything
//! else has woken the processes at the other ends, which take the processor from the dying one.
//! Until its listener is closed the others can't be sure that it is dead. Under a high number
//! it is closed before whatever has a lower one. Nothing depends on that order but time.

use std::net::TcpListener;

use nix::sys::resource::{Resource, getrlimit};

/// Number for the listener: few members have so many files open at once, and the table of files
/// stays small.
const NUMBER: u64 = 4095;

/// Distance of the number from the limit of open files.
const ROOM: u64 = 64;

/// Returns the same listener under a high number, if that can be had.
pub fn closed_first(listener: TcpListener) -> TcpListener {
    let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or_default();
    let number = NUMBER.min(limit.saturating_sub(ROOM));
    let number = i32::try_from(number).unwrap_or_default();
    match rustix::io::fcntl_dupfd_cloexec(&listener, number) {
        Ok(file) => TcpListener::from(file),
        Err(why) => {
            tracing::debug!("the listener keeps its number: {why}");
            listener
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpStream, os::fd::AsRawFd};

    use super::*;

    #[test]
    fn moved_listener_still_listens_at_high_descriptor() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let moved = closed_first(listener);
        assert!(moved.as_raw_fd() >= 192, "{moved:?}");
        TcpStream::connect(address).unwrap();
        drop(moved);
        assert!(TcpStream::connect(address).is_err());
    }
}
