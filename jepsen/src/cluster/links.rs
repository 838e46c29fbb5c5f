//! Links between members' namespaces: rules of nftables inside them.
//!
//! Several nemeses may have rules at the same time; each takes back its own.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{io::AsyncWriteExt, process::Command, sync::Mutex};

use super::error::ClusterError;
use quorate_testkit::netns::NamespaceNet;

const TABLE: &str = "inet quorate_chaos";

/// Verdict on packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketVerdict {
    /// Packets vanish.
    Drop,
    /// So many of a hundred packets vanish.
    Lose(u32),
    /// Connections are reset, and new ones refused.
    Reset,
    /// New connections to this port are refused; all else vanishes, but resets that go out.
    Refuse(u16),
    /// Packets that are longer than so many bytes, headers included, vanish.
    Long(u32),
    /// Packets with data vanish, unless they are for this port; those that only confirm get
    /// through.
    Data(u16),
}

/// Rule for packets between two members, as seen by the first. Both counted from 1.
#[derive(Clone, Copy, Debug)]
pub struct LinkRule {
    /// The member in whose namespace the rule stands.
    pub at: u64,
    /// The other end.
    pub other: u64,
    /// The rule holds for packets that come in.
    pub incoming: bool,
    /// The rule holds for packets that go out.
    pub outgoing: bool,
    /// The verdict on the packets.
    pub verdict: PacketVerdict,
}

impl LinkRule {
    /// Makes a rule for both directions.
    pub fn both(at: u64, other: u64, verdict: PacketVerdict) -> LinkRule {
        LinkRule {
            at,
            other,
            incoming: true,
            outgoing: true,
            verdict,
        }
    }
}

/// TCP connection, as its near end sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpConnection {
    /// The port at the near end.
    pub port: u16,
    /// Bytes that are to be sent, and that the other end has not confirmed.
    pub stuck: u64,
    /// Bytes that the other end has confirmed.
    pub confirmed: u64,
}

/// Reads the connections that `ss -tinH` tells of, two lines for each.
fn connections(told: &str) -> Vec<TcpConnection> {
    let lines: Vec<&str> = told.lines().collect();
    let read = |pair: &[&str]| {
        let words: Vec<&str> = pair.first()?.split_whitespace().collect();
        let port = words.get(3)?.rsplit(':').next()?.parse().ok()?;
        let mut more = pair.get(1)?.split_whitespace();
        let confirmed = more.find_map(|word| word.strip_prefix("bytes_acked:")?.parse().ok());
        Some(TcpConnection {
            port,
            stuck: words.get(2)?.parse().ok()?,
            confirmed: confirmed.unwrap_or(0),
        })
    };
    lines.chunks(2).filter_map(read).collect()
}

/// Rules that are in force on the links.
pub struct LinkRules {
    net: Arc<NamespaceNet>,
    rules: Mutex<BTreeMap<u64, Vec<LinkRule>>>,
    next: AtomicU64,
}

impl LinkRules {
    /// Makes a set without any rule.
    pub fn new(net: Arc<NamespaceNet>) -> LinkRules {
        LinkRules {
            net,
            rules: Mutex::default(),
            next: AtomicU64::new(1),
        }
    }

    /// Adds rules; they are taken back by the number that is given.
    pub async fn add(&self, rules: Vec<LinkRule>) -> Result<u64, ClusterError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut all = self.rules.lock().await;
        all.insert(number, rules.clone());
        self.enforce(&all, &rules).await?;
        for rule in rules
            .iter()
            .filter(|rule| rule.verdict == PacketVerdict::Reset)
        {
            // A connection on which nothing is being sent meets no rule: the kernel ends it.
            let address = self.net.address(rule.other as usize - 1).to_string();
            self.inside(rule.at, &["ss", "-t", "-K", "dst", &address], "")
                .await?;
        }
        Ok(number)
    }

    /// Shows the others a member whose process dies, while it lives: connections to this port of it
    /// are reset, new ones are refused, and nothing comes from it any more. Taken back by the
    /// number that is given.
    pub async fn play_dead(&self, at: u64, others: &[u64], port: u16) -> Result<u64, ClusterError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut all = self.rules.lock().await;
        let rules = others.iter();
        let rules = rules.map(|other| LinkRule::both(at, *other, PacketVerdict::Refuse(port)));
        all.insert(number, rules.collect());
        let text = self.table(all.values().flatten().filter(|rule| rule.at == at));
        // In one go: the sooner the others believe it, the more of its lease is left.
        let both = format!("nft -f - && exec ss -t -K sport = :{port}");
        self.inside(at, &["bash", "-c", &both], &text).await?;
        Ok(number)
    }

    /// Takes these rules back.
    pub async fn remove(&self, number: u64) -> Result<(), ClusterError> {
        let mut all = self.rules.lock().await;
        let Some(gone) = all.remove(&number) else {
            return Ok(());
        };
        self.enforce(&all, &gone).await
    }

    /// Takes all rules back.
    pub async fn heal(&self) -> Result<(), ClusterError> {
        let mut all = self.rules.lock().await;
        let gone: Vec<LinkRule> = std::mem::take(&mut *all).into_values().flatten().collect();
        self.enforce(&all, &gone).await
    }

    /// Counts the packets that have met the rules in a member's namespace since the last change.
    pub async fn met(&self, at: u64) -> u64 {
        let mut list = vec!["nft", "list", "table"];
        list.extend(TABLE.split(' '));
        let rules = self.inside(at, &list, "").await.unwrap_or_default();
        let counts = rules.split("counter packets ").skip(1);
        let counts = counts.filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok());
        counts.sum()
    }

    /// The connections that a member has to this port of another.
    pub async fn connections(
        &self,
        of: u64,
        to: u64,
        port: u16,
    ) -> Result<Vec<TcpConnection>, ClusterError> {
        let address = self.net.address(to as usize - 1);
        let to = format!("{address}:{port}");
        let told = self.inside(of, &["ss", "-tinH", "dst", &to], "").await?;
        Ok(connections(&told))
    }

    /// Returns whether a connection from one to the other comes about in a moment; refused counts
    /// as well, as the packets went both ways.
    pub async fn reach(&self, from: u64, to: u64, port: u16) -> bool {
        let line = format!(
            "exec 3<>/dev/tcp/{}/{port}",
            self.net.address(to as usize - 1)
        );
        let mut command = self.command(from, &["timeout", "0.15", "bash", "-c", &line]);
        let status = command.stderr(Stdio::null()).status().await;
        const TIMED_OUT: i32 = 124;
        status.is_ok_and(|status| status.code() != Some(TIMED_OUT))
    }

    /// Writes the rules of the namespaces of `changed`, each in one transaction.
    async fn enforce(
        &self,
        all: &BTreeMap<u64, Vec<LinkRule>>,
        changed: &[LinkRule],
    ) -> Result<(), ClusterError> {
        let places: std::collections::BTreeSet<u64> = changed.iter().map(|rule| rule.at).collect();
        for at in places {
            let rules = all.values().flatten().filter(|rule| rule.at == at);
            let text = self.table(rules);
            self.inside(at, &["nft", "-f", "-"], &text).await?;
        }
        Ok(())
    }

    fn table<'a>(&self, rules: impl Iterator<Item = &'a LinkRule>) -> String {
        let (mut input, mut output) = (String::new(), String::new());
        for rule in rules {
            let address = self.net.address(rule.other as usize - 1);
            let verdicts = match rule.verdict {
                PacketVerdict::Drop => vec!["counter drop".to_owned()],
                PacketVerdict::Lose(percent) => {
                    vec![format!("numgen random mod 100 < {percent} counter drop")]
                }
                PacketVerdict::Refuse(port) => vec![
                    "tcp flags & rst == rst accept".to_owned(),
                    format!(
                        "tcp dport {port} tcp flags & (syn | ack) == syn \
                         counter reject with tcp reset"
                    ),
                    "counter drop".to_owned(),
                ],
                PacketVerdict::Long(most) => {
                    vec![format!(
                        "meta l4proto tcp meta length > {most} counter drop"
                    )]
                }
                // The last piece of whatever is written is pushed; nothing else is.
                PacketVerdict::Data(spared) => vec![format!(
                    "tcp dport != {spared} tcp flags & psh == psh counter drop"
                )],
                // The resets that the rules themselves send go through.
                PacketVerdict::Reset => vec![
                    "tcp flags & rst == rst accept".to_owned(),
                    "meta l4proto tcp counter reject with tcp reset".to_owned(),
                    "counter drop".to_owned(),
                ],
            };
            for verdict in verdicts {
                if rule.incoming {
                    let _ = writeln!(input, "ip saddr {address} {verdict}");
                }
                if rule.outgoing {
                    let _ = writeln!(output, "ip daddr {address} {verdict}");
                }
            }
        }
        // Made first so that there is something to delete.
        format!(
            "add table {TABLE}\ndelete table {TABLE}\ntable {TABLE} {{\n\
             chain in {{ type filter hook input priority 0;\n{input}}}\n\
             chain out {{ type filter hook output priority 0;\n{output}}}\n}}\n"
        )
    }

    fn command(&self, at: u64, words: &[&str]) -> Command {
        let mut command = Command::from(self.net.command(at as usize - 1, words[0]));
        command.args(&words[1..]).kill_on_drop(true);
        command.stdin(Stdio::null());
        command
    }

    async fn inside(&self, at: u64, words: &[&str], input: &str) -> Result<String, ClusterError> {
        let named = || words.iter().map(|word| (*word).to_owned()).collect();
        let failed = |source| ClusterError::Program {
            words: named(),
            source,
        };
        let mut command = self.command(at, words);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes()).await.map_err(failed)?;
        }
        let output = child.wait_with_output().await.map_err(failed)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(ClusterError::ProgramFailed {
            words: named(),
            said: String::from_utf8_lossy(&output.stderr).into_owned(),
            input: input.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unconfirmed_bytes_of_connections_are_read() {
        let told = "ESTAB 0 8466 10.7.0.1:41234 10.7.0.2:17210\n\t cubic rto:201 bytes_sent:9000 \
                    bytes_retrans:10 bytes_acked:512 segs_out:9\nESTAB 0 0 10.7.0.1:41236 \
                    10.7.0.2:17210\n\t cubic rto:201 segs_out:9\n";
        let read = connections(told);
        let expected = [(41234, 8466, 512), (41236, 0, 0)];
        let expected = expected.map(|(port, stuck, confirmed)| TcpConnection {
            port,
            stuck,
            confirmed,
        });
        assert_eq!(read, expected);
        assert!(connections("").is_empty());
    }
}
