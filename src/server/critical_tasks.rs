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

/// For how long the end of a watch is kept back: who feeds it may have ended because another
/// part has, which tells the cause.
const CAUSE_FIRST: Duration = Duration::from_millis(100);

/// How a task ended.
type TaskEnd = (String, Result<(), String>);

/// The tasks whose end ends the member.
pub(super) struct CriticalTasks {
    tasks: JoinSet<TaskEnd>,
}

impl CriticalTasks {
    pub fn new() -> CriticalTasks {
        CriticalTasks {
            tasks: JoinSet::new(),
        }
    }

    /// A task that ends only when the member does.
    pub fn spawn(
        &mut self,
        part: impl Into<String>,
        task: impl Future<Output = Result<(), String>> + Send + 'static,
    ) {
        let part = part.into();
        self.tasks.spawn(async move {
            // A task of its own, so that a panic comes back with the part's name.
            let ended = tokio::task::spawn(task)
                .await
                .unwrap_or_else(|error| Err(panic_text(error)));
            (part, ended)
        });
    }

    /// Follows a part that runs elsewhere and feeds a watch for as long as it is alive.
    pub fn follow<T: Send + Sync + 'static>(
        &mut self,
        part: impl Into<String>,
        mut watch: watch::Receiver<T>,
    ) {
        self.spawn(part, async move {
            while watch.changed().await.is_ok() {}
            sleep(CAUSE_FIRST).await;
            Err("it no longer runs; its panic, if it was one, stands above in the log".into())
        });
    }

    /// Runs a task that may end when it is done, but must not panic.
    pub fn background(
        &mut self,
        part: impl Into<String>,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.spawn(part, async move {
            let done = tokio::task::spawn(task).await;
            match done {
                Ok(()) => std::future::pending().await,
                Err(error) => Err(panic_text(error)),
            }
        });
    }

    /// Waits until one of the tasks is lost.
    pub async fn wait_for_loss(&mut self) -> ServerError {
        match self.tasks.join_next().await {
            Some(Ok((part, ended))) => {
                let why = ended.err().unwrap_or_else(|| "it ended by itself".into());
                ServerError::Lost { part, why }
            }
            Some(Err(error)) => ServerError::Lost {
                part: "a task".into(),
                why: panic_text(error),
            },
            None => std::future::pending().await,
        }
    }
}

fn panic_text(error: JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            format!("panic: {}", text.unwrap_or_default())
        }
        Err(error) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    async fn lost(vital: &mut CriticalTasks) -> String {
        timeout(Duration::from_secs(5), vital.wait_for_loss())
            .await
            .unwrap()
            .to_string()
    }

    #[tokio::test]
    async fn a_panic_is_told_with_its_part() {
        let mut vital = CriticalTasks::new();
        vital.spawn("other", std::future::pending());
        vital.spawn("the http face", async { panic!("no more {}", "rope") });
        assert_eq!(
            lost(&mut vital).await,
            "the http face ended: panic: no more rope"
        );
    }

    #[tokio::test]
    async fn an_end_without_a_word_is_a_loss_too() {
        let mut vital = CriticalTasks::new();
        vital.spawn("the http face", async { Ok(()) });
        assert_eq!(
            lost(&mut vital).await,
            "the http face ended: it ended by itself"
        );
    }

    #[tokio::test]
    async fn a_watch_that_nobody_feeds_any_more_is_a_loss() {
        let mut vital = CriticalTasks::new();
        let (feed, watched) = watch::channel(1);
        vital.follow("consensus", watched);
        feed.send_replace(2);
        assert!(
            timeout(Duration::from_millis(50), vital.wait_for_loss())
                .await
                .is_err()
        );
        drop(feed);
        assert!(lost(&mut vital).await.starts_with("consensus ended"), "");
    }

    #[tokio::test]
    async fn of_two_that_end_together_the_one_that_knows_why_is_told() {
        for _ in 0..20 {
            let mut vital = CriticalTasks::new();
            let (feed, watched) = watch::channel(1);
            vital.follow("a view of it", watched);
            vital.spawn("consensus", async move {
                drop(feed);
                tokio::time::sleep(Duration::from_millis(5)).await;
                Err("the disk failed".into())
            });
            assert_eq!(lost(&mut vital).await, "consensus ended: the disk failed");
        }
    }

    #[tokio::test]
    async fn background_work_may_be_done_but_not_panic() {
        let mut vital = CriticalTasks::new();
        vital.background("announcement", async {});
        assert!(
            timeout(Duration::from_millis(50), vital.wait_for_loss())
                .await
                .is_err()
        );
        vital.background("upkeep", async { panic!("oops") });
        assert_eq!(lost(&mut vital).await, "upkeep ended: panic: oops");
    }
}
