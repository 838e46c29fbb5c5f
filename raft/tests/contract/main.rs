//! Contract with openraft: behaviour that this crate relies on and its documentation does not
//! promise.
//!
//! There is one test for each sentence, against openraft alone, with storage and links that live
//! in memory. Each is named after the sentence that needs it, and names the place of that. They
//! are the first to run when the pinned version is moved.

mod bare;
mod disk;
mod sentences;
