//! Programs and libraries of the workspace, which cargo builds beside the test's own program.

use std::{path::PathBuf, sync::LazyLock};

/// The program under test.
pub static QUORATE: LazyLock<PathBuf> = LazyLock::new(|| built("quorate"));

/// Returns the path of what the workspace builds, such as `examples/embedded`.
pub fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test's own program");
    // A test stands in `deps`, a program of its own beside the others.
    let mut folders = test.ancestors().skip(1).take(2);
    let found = folders.find_map(|folder| Some(folder.join(name)).filter(|path| path.is_file()));
    found.unwrap_or_else(|| {
        panic!("no {name} beside {test:?}: run `cargo build --workspace --bins --examples`")
    })
}
