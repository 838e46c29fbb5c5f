//! Links of 100 Mbit/s: what members send, to each other and to clients, waits for its turn.
//!
//! That is by tbf, and enough for all that has to come in time, however much else is sent.

use std::{path::Path, process::Stdio, sync::Arc};

use async_trait::async_trait;
use rand::rngs::StdRng;
use tokio::process::Command;

use super::{
    contract::{FaultTarget, Nemesis},
    error::NemesisError,
};
use crate::{cluster::member::ClusterMember, run_context::RunContext};

/// Token bucket of a thin link. Packets that wait longer than 50 ms are dropped, as by a switch
/// with that much room.
const THIN: &str = "qdisc replace dev eth0 root tbf rate 100mbit burst 64kb latency 50ms";

/// Makes the links thin.
#[derive(Default)]
pub struct ThinLinks {
    done: Vec<u64>,
}

/// Traffic control where a member is.
async fn control(member: &ClusterMember, words: &str) -> Result<String, NemesisError> {
    let mut command = member.command(Path::new("tc"));
    command.args(words.split(' '));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = Command::from(command).output().await;
    let output = output.map_err(NemesisError::io(format!("tc {words}")))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        let text = format!("tc {words}: {}", said.trim());
        Err(NemesisError::ProgramFailed(text))
    }
}

/// Reads the bytes that a queue has sent, and how often something had to wait.
fn counted(told: &str) -> Option<(u64, u64)> {
    let after = |word: &str| {
        let rest = told.split_once(word)?.1;
        let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
        number.parse().ok()
    };
    Some((after("Sent ")?, after("overlimits ")?))
}

#[async_trait]
impl Nemesis for ThinLinks {
    async fn inject(
        &mut self,
        context: &Arc<RunContext>,
        _: &mut StdRng,
    ) -> Result<FaultTarget, NemesisError> {
        for member in &context.cluster.members {
            control(member, THIN).await?;
            self.done.push(member.id);
        }
        // Nobody is taken out by it.
        Ok(FaultTarget {
            description: "100 Mbit/s out of each".to_owned(),
            members: Vec::new(),
        })
    }

    async fn probe(&mut self, context: &Arc<RunContext>) -> Result<String, NemesisError> {
        let (mut sent, mut waited) = (0, 0);
        for member in &context.cluster.members {
            let told = control(member, "-s qdisc show dev eth0").await?;
            let uncounted = || NemesisError::NoEffect(format!("member {}: {told}", member.id));
            let (bytes, times) = told
                .contains("qdisc tbf")
                .then(|| counted(&told))
                .flatten()
                .ok_or_else(uncounted)?;
            (sent, waited) = (sent + bytes, waited + times);
        }
        match sent {
            0 => Err(NemesisError::NoEffect("nothing was sent yet".to_owned())),
            _ => Ok(format!(
                "{sent} bytes sent; {waited} times something waited"
            )),
        }
    }

    async fn heal(&mut self, context: &Arc<RunContext>) -> Result<(), NemesisError> {
        for id in self.done.drain(..) {
            control(context.cluster.member(id), "qdisc del dev eth0 root").await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queue_counters_are_read() {
        let told = "qdisc tbf 8002: root refcnt 2 rate 100Mbit burst 64Kb lat 50ms \n \
                    Sent 1234 bytes 5 pkt (dropped 6, overlimits 78 requeues 0) \n";
        assert_eq!(counted(told), Some((1234, 78)));
        assert_eq!(counted("qdisc noqueue 0: root refcnt 2"), None);
    }
}
