//! Reports: of each run a page that opens from disk and needs nothing else, with the verdict
//! first; of many runs a summary.

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
