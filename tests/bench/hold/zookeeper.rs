//! ZooKeeper's recipe for a lock: a numbered node that ends with the session; the lowest
//! has the lock, each of the others watches the one before it.

use std::time::Duration;

use super::{asked_to_end, say_held, say_waiting};
use crate::zookeeper::wire::{NODE_EXISTS, Session};

const LOCK: &str = "/bench-lock";

pub async fn hold(address: &str, timeout: Duration) -> Result<(), String> {
    let mut session = Session::open(address, timeout).await?;
    if session.timeout != timeout {
        return Err(format!(
            "a session of {:?} was granted, not of {timeout:?}",
            session.timeout
        ));
    }
    session.create(LOCK).await?.ok(NODE_EXISTS)?;
    let own = session.create_numbered(&format!("{LOCK}/n-")).await?;
    let mut told = false;
    loop {
        let mut names = session.children(LOCK).await?;
        names.sort();
        let place = names.iter().position(|name| own.ends_with(name.as_str()));
        match place {
            None => return Err("its node is gone".into()),
            Some(0) => break,
            Some(n) => {
                if session.watch(&format!("{LOCK}/{}", names[n - 1])).await? {
                    if !told {
                        say_waiting();
                        told = true;
                    }
                    session.idle().await?;
                }
            }
        }
    }
    say_held();
    tokio::select! {
        ended = session.idle() => return ended,
        () = asked_to_end() => {}
    }
    session.close().await
}
