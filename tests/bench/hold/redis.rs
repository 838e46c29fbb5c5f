//! The lock that Redis' documentation shows: `SET NX PX` on one master, renewed every third
//! of its time to live, given back by a script that compares first. One that waits asks
//! every 10 ms (the usual client every 100 ms). No fence, and a failover may lose it.

use std::time::Duration;

use super::{asked_to_end, say_held, say_waiting};
use crate::redis::resp::Redis;

const KEY: &str = "bench-lock";
const POLL: Duration = Duration::from_millis(10);
const RENEW: &str = "if redis.call('get',KEYS[1])==ARGV[1] then return redis.call('pexpire',KEYS[1],ARGV[2]) else return 0 end";
const GIVE_BACK: &str =
    "if redis.call('get',KEYS[1])==ARGV[1] then return redis.call('del',KEYS[1]) else return 0 end";

pub async fn hold(address: &str, ttl: Duration) -> Result<(), String> {
    let mut redis = Redis::connect(address).await?;
    let (own, ttl_ms) = (std::process::id().to_string(), ttl.as_millis().to_string());
    let mut told = false;
    while redis
        .call(&["SET", KEY, &own, "NX", "PX", &ttl_ms])
        .await?
        .is_none()
    {
        if !told {
            say_waiting();
            told = true;
        }
        tokio::time::sleep(POLL).await;
    }
    say_held();
    let end = asked_to_end();
    tokio::pin!(end);
    loop {
        tokio::select! {
            () = tokio::time::sleep(ttl / 3) => {
                let renewed = redis.call(&["EVAL", RENEW, "1", KEY, &own, &ttl_ms]).await?;
                if renewed.as_deref() != Some("1") {
                    return Err("the lock was lost".into());
                }
            }
            () = &mut end => return redis.call(&["EVAL", GIVE_BACK, "1", KEY, &own]).await.map(drop),
        }
    }
}
