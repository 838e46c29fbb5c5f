//! The header against bytes written by hand from IBM's description of its layout, against itself,
//! and against garbage.

mod garbage;
mod golden;
mod round_trip;
