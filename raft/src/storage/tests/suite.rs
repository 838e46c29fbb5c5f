//! openraft's own suite, and a whole openraft on top.

use std::sync::Arc;

use openraft::{
    StorageError,
    testing::log::{StoreBuilder, Suite},
};
use parking_lot::Mutex;
use tempfile::TempDir;

use super::{DEADLINE, LogStore, open_new};
use crate::storage::{FolderRelease, MachineStore, raft_types::Types};

/// Keeps what tells when each folder is closed again.
#[derive(Clone, Default)]
struct SuiteBuilder(Arc<Mutex<Vec<FolderRelease>>>);

impl StoreBuilder<Types, LogStore, MachineStore, TempDir> for SuiteBuilder {
    async fn build(&self) -> Result<(TempDir, LogStore, MachineStore), StorageError<Types>> {
        let dir = tempfile::tempdir().unwrap();
        let opened = open_new(dir.path());
        self.0.lock().push(opened.released);
        Ok((dir, opened.log, opened.machine))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openraft_is_content() {
    let builder = SuiteBuilder::default();
    Suite::test_all(builder.clone()).await.unwrap();
    // RocksDB aborts a process that ends while a database is being closed.
    let opened = std::mem::take(&mut *builder.0.lock());
    for released in opened {
        tokio::time::timeout(DEADLINE, released.wait())
            .await
            .expect("the folder is released");
    }
}
