//! Asks tasks to end, and lets them sleep until then.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

/// Cheap to clone; all clones are asked at once.
#[derive(Clone)]
pub struct Stop {
    asked: Arc<watch::Sender<bool>>,
}

impl Default for Stop {
    fn default() -> Stop {
        Stop {
            asked: Arc::new(watch::Sender::new(false)),
        }
    }
}

impl Stop {
    /// Asks.
    pub fn ask(&self) {
        self.asked.send_replace(true);
    }

    /// Whether it was asked.
    #[must_use]
    pub fn asked(&self) -> bool {
        *self.asked.borrow()
    }

    /// Sleeps so long, or until it is asked; gives whether it was.
    pub async fn within(&self, time: Duration) -> bool {
        let mut asked = self.asked.subscribe();
        let stopped = asked.wait_for(|asked| *asked);
        tokio::time::timeout(time, stopped).await.is_ok()
    }

    /// Sleeps until that moment, or until it is asked; gives whether it was.
    pub async fn until(&self, moment: quorate_clock::Instant) -> bool {
        let left = moment.saturating_duration_since(quorate_clock::Instant::now());
        self.within(left).await
    }
}
