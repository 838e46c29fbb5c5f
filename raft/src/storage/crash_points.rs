//! Crash points: places at which tests end the process, as a kill would.

#[cfg(test)]
static ARMED: parking_lot::Mutex<Option<String>> = parking_lot::Mutex::new(None);

/// Lets the process die at `point` from now on.
#[cfg(test)]
pub(super) fn arm(point: &str) {
    *ARMED.lock() = Some(point.to_owned());
}

/// Ends the process if a test has armed this place; nothing otherwise.
pub(super) fn point(_name: &str) {
    #[cfg(test)]
    if ARMED.lock().as_deref() == Some(_name) {
        std::process::abort();
    }
}
