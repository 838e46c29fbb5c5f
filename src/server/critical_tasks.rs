//! Tasks that a member can't be without: the end of any of them ends the member.
//!
//! A panic ends one task and not the process, and a member that answers health checks while its
//! consensus is dead is worse than none.

use std::{future::Future, time::Duration};

use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
    time::sleep,
};

use super::ServerError;

/// Any error of a part, as the part reports it.
pub(super) type PartError = Box<dyn std::error::Error + Send + Sync>;

/// For how long the end of a watch is kept back. The part that feeds it may have ended because
/// another part has, and that one's error names the cause.
const CAUSE_FIRST: Duration = Duration::from_millis(100);

/// Reason of the end of a task that must not end.
#[derive(Debug, thiserror::Error)]
enum TaskError {
    #[error("panic: {0}")]
    Panic(String),
    #[error(transparent)]
    Cancelled(JoinError),
    #[error("it no longer runs; its panic, if it was one, stands above in the log")]
    WatchEnded,
    #[error("it ended by itself")]
    Done,
    #[error(transparent)]
    Failed(PartError),
}

impl From<JoinError> for TaskError {
    fn from(error: JoinError) -> TaskError {
        match error.try_into_panic() {
            Ok(panic) => {
                let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
                let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
                TaskError::Panic(text.unwrap_or_default())
            }
            Err(cancelled) => TaskError::Cancelled(cancelled),
        }
    }
}

/// A part's name and the end of its task.
struct TaskEnd {
    part: String,
    error: TaskError,
}

/// The tasks whose end ends the member.
pub(super) struct CriticalTasks {
    tasks: JoinSet<TaskEnd>,
}

impl CriticalTasks {
    pub(super) fn new() -> CriticalTasks {
        CriticalTasks {
            tasks: JoinSet::new(),
        }
    }

    /// Runs a task that ends only when the member does.
    pub(super) fn spawn<E: Into<PartError> + Send + 'static>(
        &mut self,
        part: impl Into<String>,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let part = part.into();
        self.tasks.spawn(async move {
            // A task of its own, so that a panic comes back with the part's name.
            let error = match tokio::task::spawn(task).await {
                Ok(Ok(())) => TaskError::Done,
                Ok(Err(error)) => TaskError::Failed(error.into()),
                Err(error) => error.into(),
            };
            TaskEnd { part, error }
        });
    }

    /// Follows a part that runs elsewhere and feeds a watch for as long as it is alive.
    pub(super) fn follow<T: Send + Sync + 'static>(
        &mut self,
        part: impl Into<String>,
        mut watch: watch::Receiver<T>,
    ) {
        self.spawn(part, async move {
            while watch.changed().await.is_ok() {}
            sleep(CAUSE_FIRST).await;
            Err::<(), _>(TaskError::WatchEnded)
        });
    }

    /// Runs a task that may end when it is done, but must not panic.
    pub(super) fn background(
        &mut self,
        part: impl Into<String>,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.spawn(part, async move {
            let done = tokio::task::spawn(task).await;
            match done {
                Ok(()) => std::future::pending().await,
                Err(error) => Err(TaskError::from(error)),
            }
        });
    }

    /// Waits until one of the tasks is lost.
    pub(super) async fn wait_for_loss(&mut self) -> ServerError {
        let TaskEnd { part, error } = match self.tasks.join_next().await {
            Some(Ok(end)) => end,
            Some(Err(error)) => TaskEnd {
                part: "a task".into(),
                error: error.into(),
            },
            None => std::future::pending().await,
        };
        let why = error.to_string();
        ServerError::Lost { part, why }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    async fn lost(tasks: &mut CriticalTasks) -> String {
        timeout(Duration::from_secs(5), tasks.wait_for_loss())
            .await
            .unwrap()
            .to_string()
    }

    #[tokio::test]
    async fn panic_is_reported_with_its_task() {
        let mut tasks = CriticalTasks::new();
        tasks.spawn("other", std::future::pending::<Result<(), TaskError>>());
        tasks.spawn::<TaskError>("the http face", async { panic!("no more {}", "rope") });
        assert_eq!(
            lost(&mut tasks).await,
            "the http face ended: panic: no more rope"
        );
    }

    #[tokio::test]
    async fn clean_end_of_critical_task_is_a_loss() {
        let mut tasks = CriticalTasks::new();
        tasks.spawn("the http face", async { Ok::<(), TaskError>(()) });
        assert_eq!(
            lost(&mut tasks).await,
            "the http face ended: it ended by itself"
        );
    }

    #[tokio::test]
    async fn unfed_watch_is_a_loss() {
        let mut tasks = CriticalTasks::new();
        let (feed, watched) = watch::channel(1);
        tasks.follow("consensus", watched);
        feed.send_replace(2);
        assert!(
            timeout(Duration::from_millis(50), tasks.wait_for_loss())
                .await
                .is_err()
        );
        drop(feed);
        assert!(lost(&mut tasks).await.starts_with("consensus ended"), "");
    }

    #[tokio::test]
    async fn of_simultaneous_ends_the_explained_one_is_reported() {
        for _ in 0..20 {
            let mut tasks = CriticalTasks::new();
            let (feed, watched) = watch::channel(1);
            tasks.follow("a view of it", watched);
            tasks.spawn("consensus", async move {
                drop(feed);
                tokio::time::sleep(Duration::from_millis(5)).await;
                Err("the disk failed")
            });
            assert_eq!(lost(&mut tasks).await, "consensus ended: the disk failed");
        }
    }

    #[tokio::test]
    async fn background_work_may_be_done_but_not_panic() {
        let mut tasks = CriticalTasks::new();
        tasks.background("announcement", async {});
        assert!(
            timeout(Duration::from_millis(50), tasks.wait_for_loss())
                .await
                .is_err()
        );
        tasks.background("upkeep", async { panic!("oops") });
        assert_eq!(lost(&mut tasks).await, "upkeep ended: panic: oops");
    }
}
