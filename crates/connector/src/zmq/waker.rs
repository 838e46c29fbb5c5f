//! Wakes the thread that waits in `zmq_poll`, from any thread or task.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, RawFd},
};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// An eventfd, polled beside the socket.
pub struct ThreadWaker(EventFd);

impl ThreadWaker {
    /// One that is silent.
    pub fn new() -> io::Result<ThreadWaker> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        Ok(ThreadWaker(EventFd::from_flags(flags)?))
    }

    /// Wakes the thread, now or when it next waits.
    pub fn wake(&self) {
        // It fails only when it has been rung 2^64 - 2 times and not been heard: it rings.
        let _ = self.0.write(1);
    }

    /// What was rung so far is heard.
    pub fn reset(&self) {
        // It fails only when it is silent.
        let _ = self.0.read();
    }

    /// What to poll.
    pub fn descriptor(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}
