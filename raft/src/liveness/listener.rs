//! A listener that goes first when its process dies.
//!
//! Linux closes the files of a killed process one after the other, the one with the highest
//! number first (they are queued as work for the dying thread, which is done last in, first
//! out). A listener is opened early, so it comes late: by then the closing of everything else
//! has woken whoever was at the other ends, who take the processor from the dying one. Until
//! its listener is closed the others can't be sure that it is dead. Under a higher number
//! than whatever is opened later it is closed first. Nothing depends on that order but time.

use std::{io, net::TcpListener, os::fd::OwnedFd};

use nix::sys::resource::{Resource, getrlimit};

/// Higher than what a member opens, and low enough for a small table of files.
const NUMBER: u64 = 4095;

/// The same listener under a high number.
pub fn closed_first(listener: TcpListener) -> io::Result<TcpListener> {
    let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let number = NUMBER.min(limit.saturating_sub(1));
    let number = i32::try_from(number).unwrap_or(i32::MAX);
    let file: OwnedFd = rustix::io::fcntl_dupfd_cloexec(&listener, number)?;
    Ok(TcpListener::from(file))
}

#[cfg(test)]
mod tests {
    use std::{net::TcpStream, os::fd::AsRawFd};

    use super::*;

    #[test]
    fn it_listens_on_under_a_high_number() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let moved = closed_first(listener).unwrap();
        assert!(moved.as_raw_fd() >= 255, "{moved:?}");
        TcpStream::connect(address).unwrap();
        drop(moved);
        assert!(TcpStream::connect(address).is_err());
    }
}
