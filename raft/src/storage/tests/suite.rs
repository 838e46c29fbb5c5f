//! openraft's own suite, and a whole openraft on top.

use openraft::{
    StorageError,
    testing::log::{StoreBuilder, Suite},
};
use tempfile::TempDir;

use super::{LogStore, open_new};
use crate::storage::{MachineStore, types::Types};

struct Builder;

impl StoreBuilder<Types, LogStore, MachineStore, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, MachineStore), StorageError<Types>> {
        let dir = tempfile::tempdir().unwrap();
        let opened = open_new(dir.path());
        Ok((dir, opened.log, opened.machine))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openraft_is_content() {
    Suite::test_all(Builder).await.unwrap();
}
