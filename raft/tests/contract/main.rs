//! What this crate leans on in openraft and its documentation does not promise: one test for
//! each, against openraft alone, with storage and links that live in memory. Each is named
//! after the sentence that needs it, and told where that stands. Whoever moves the pinned
//! version runs these first.

mod bare;
mod disk;
mod sentences;
