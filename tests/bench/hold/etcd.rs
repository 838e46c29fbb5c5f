//! etcd's lock as `etcdctl lock` takes it: a lease kept alive every third of its TTL, and
//! the lock service, which waits.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;

use super::{asked_to_end, say_held, say_waiting};
use crate::etcd::{call, client, number};

pub async fn hold(url: &str, ttl: Duration) -> Result<(), String> {
    let client = client();
    let granted = call(&client, url, "lease/grant", &json!({"TTL": ttl.as_secs()})).await?;
    let lease = number(&granted["ID"])?;
    let granted = Duration::from_secs(number(&granted["TTL"])?);
    if granted != ttl {
        return Err(format!(
            "a lease of {granted:?} was granted, not of {ttl:?}"
        ));
    }
    let renewed = async {
        loop {
            tokio::time::sleep(ttl / 3).await;
            call(&client, url, "lease/keepalive", &json!({"ID": lease})).await?;
        }
    };
    let locked = async {
        let name = BASE64_STANDARD.encode("bench-lock");
        let body = json!({"name": name, "lease": lease});
        let lock = call(&client, url, "lock/lock", &body);
        tokio::pin!(lock);
        tokio::select! {
            done = &mut lock => done?,
            () = tokio::time::sleep(Duration::from_millis(100)) => {
                say_waiting();
                lock.await?
            }
        };
        say_held();
        asked_to_end().await;
        call(&client, url, "lease/revoke", &json!({"ID": lease}))
            .await
            .map(drop)
    };
    tokio::select! {
        problem = renewed => problem,
        ended = locked => ended,
    }
}
