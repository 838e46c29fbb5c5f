//! Members on machines of their own, which certificates allow to listen there.

use std::{fs, sync::Arc};

use quorate_testkit::netns::NamespaceNet;

use super::{NotYet, SOON, TestCluster, TlsCluster, eventually};

/// The member that leads, as one of `asked` sees it; never `but`.
async fn leader(it: &TlsCluster, asked: &[usize], but: Option<usize>) -> usize {
    eventually("one leader", SOON, || async {
        let mut seen = Vec::new();
        for n in asked {
            let answer = it.json(*n, &["leader"])?;
            let name = answer["leader"]["name"].as_str().unwrap_or_default();
            let members = &it.cluster.members;
            seen.push(members.iter().position(|member| member.name == name));
        }
        match seen.first() {
            Some(Some(first)) if Some(*first) != but && seen.iter().all(|it| it == &seen[0]) => {
                Ok(*first)
            }
            _ => Err(NotYet::Seen(format!("{seen:?}"))),
        }
    })
    .await
}

// Tests 8, 21 and 63 in part: no `insecure` for what has TLS, members known wherever they are,
// and a partition that heals.
// guarantee: SECURITY-9
#[tokio::test(flavor = "multi_thread")]
async fn members_behind_tls_outlive_a_partition() {
    let Some(net) = NamespaceNet::new(3) else {
        return;
    };
    let net = Arc::new(net);
    let it = TlsCluster::prepare(TestCluster::prepare_in(&net, 500, ""));
    for member in &it.cluster.members {
        let text = fs::read_to_string(member.config()).unwrap();
        let narrow = text.replace("insecure = true", "insecure = [\"http\"]");
        assert_ne!(text, narrow);
        fs::write(member.config(), narrow).unwrap();
    }
    let it = it.boot().await;
    assert!(it.ask(0, &["kv", "put", "a", "1"]).status.success());
    let first = leader(&it, &[0, 1, 2], None).await;
    let rest: Vec<usize> = (0..3).filter(|n| *n != first).collect();
    net.cut_off(first);
    let second = leader(&it, &rest, Some(first)).await;
    assert!(it.ask(second, &["kv", "put", "a", "2"]).status.success());
    net.heal();
    it.voters(3).await;
    let got = it.ask(first, &["kv", "get", "a"]);
    assert_eq!(got.stdout.trim_ascii(), b"2");
    // All links are made anew, each by a handshake of its own.
    net.reset_all(second);
    let others: Vec<usize> = (0..3).filter(|n| *n != second).collect();
    leader(&it, &others, Some(second)).await;
    net.heal();
    it.voters(3).await;
    assert!(it.ask(second, &["kv", "put", "a", "3"]).status.success());
}
