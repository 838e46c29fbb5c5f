//! Waker of the thread that waits in `zmq_poll`, for any thread or task.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, RawFd},
};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// Eventfd, polled beside the socket.
pub(super) struct ThreadWaker(EventFd);

impl ThreadWaker {
    /// Returns a waker that has not been used.
    pub(super) fn new() -> io::Result<ThreadWaker> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        Ok(ThreadWaker(EventFd::from_flags(flags)?))
    }

    /// Wakes the thread, now or when it next waits.
    pub(super) fn wake(&self) {
        // This fails only after 2^64 - 2 wake-ups without a reset: the thread is awake then.
        let _ = self.0.write(1);
    }

    /// Clears the wake-ups so far.
    pub(super) fn reset(&self) {
        // This fails only when there is no wake-up.
        let _ = self.0.read();
    }

    /// Returns the descriptor to poll.
    pub(super) fn descriptor(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}
