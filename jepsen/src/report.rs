//! Reports: a page for each run, and a summary of many.
//!
//! A page opens from disk and needs nothing else, with the verdict first.

mod html;
mod logs;
mod plots;
mod reigns;
mod run_page;
mod summary;
mod time_chart;
mod timeline;

pub use run_page::{FILE, page};
pub use summary::summary;
