//! What becomes of requests: spread, tried again or not, answered when nobody can.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use hyper::{Method, StatusCode};

use super::{
    fake::{Cluster, Fake},
    rig::{Balancer, folder, until},
};

fn three() -> (Cluster, [Fake; 3]) {
    let cluster = Cluster::default();
    let members = [1, 2, 3].map(|id| Fake::start(&cluster, id));
    members.iter().for_each(|member| cluster.join(member));
    (cluster, members)
}

#[tokio::test]
async fn requests_go_round() {
    let (_cluster, [a, b, c]) = three();
    let dir = folder(&[&a]);
    let balancer = Balancer::start(dir.path()).await;
    balancer.serves(&[&a, &b, &c]).await;
    for _ in 0..30 {
        balancer.get("/").await.unwrap();
    }
    assert_eq!([a.requests(), b.requests(), c.requests()], [10, 10, 10]);
    balancer.stop().await;
}

#[tokio::test]
async fn a_member_that_is_not_ready_gets_nothing() {
    let (_cluster, [a, b, c]) = three();
    b.controls.unready.store(true, Ordering::Relaxed);
    let dir = folder(&[&a]);
    let balancer = Balancer::start(dir.path()).await;
    balancer.serves(&[&a, &c]).await;
    let before = b.requests();
    for _ in 0..10 {
        balancer.get("/").await.unwrap();
    }
    assert_eq!(b.requests(), before);
    b.controls.unready.store(false, Ordering::Relaxed);
    balancer.serves(&[&a, &b, &c]).await;
    balancer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_get_fails_across_member_death_and_return() {
    let (cluster, [a, mut b, c]) = three();
    let dir = folder(&[&a]);
    let balancer = Arc::new(Balancer::start(dir.path()).await);
    balancer.serves(&[&a, &b, &c]).await;

    let done = Arc::new(AtomicU64::new(0));
    let enough = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (balancer, done, enough) = (balancer.clone(), done.clone(), enough.clone());
            tokio::spawn(async move {
                let mut client = balancer.connect().await.unwrap();
                while !enough.load(Ordering::Relaxed) {
                    let answer = client.get("/").await.expect("the connection is kept alive");
                    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for _ in 0..3 {
        let more = done.load(Ordering::Relaxed) + 500;
        until("requests are answered", async || {
            done.load(Ordering::Relaxed) > more
        })
        .await;
        b.kill();
        balancer.serves(&[&a, &c]).await;
        b = Fake::revive(&cluster, &b);
        balancer.serves(&[&a, &b, &c]).await;
        until("the member is given requests again", async || {
            b.requests() > 10
        })
        .await;
    }
    enough.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    Arc::into_inner(balancer).unwrap().stop().await;
}

#[tokio::test]
async fn only_idempotent_requests_are_sent_twice() {
    let (_cluster, [a, b, c]) = three();
    let dir = folder(&[&a]);
    let balancer = Balancer::start(dir.path()).await;
    balancer.serves(&[&a, &b, &c]).await;
    let members = [&a, &b, &c];
    b.controls.hangs_up.store(true, Ordering::Relaxed);

    let table = [
        (Method::GET, true),
        (Method::HEAD, true),
        (Method::PUT, true),
        (Method::DELETE, true),
        (Method::OPTIONS, true),
        (Method::POST, false),
        (Method::PATCH, false),
        (Method::from_bytes(b"CHARGE").unwrap(), false),
    ];
    for (method, again) in table {
        let (mut met, mut failed) = (0, 0);
        for n in 0..6 {
            let path = format!("/{n}");
            let answer = balancer.send(method.clone(), &path).await.unwrap();
            let request = format!("{method} {path}");
            let times: usize = members.iter().map(|member| member.saw(&request)).sum();
            if b.saw(&request) == 0 {
                assert_eq!((times, answer.status), (1, StatusCode::OK), "{request}");
                continue;
            }
            met += 1;
            if again {
                assert_eq!((times, answer.status), (2, StatusCode::OK), "{request}");
            } else {
                failed += 1;
                assert_eq!(
                    (times, answer.status),
                    (1, StatusCode::BAD_GATEWAY),
                    "{request}"
                );
                assert!(answer.body.contains("may have been handled"), "{answer:?}");
            }
        }
        assert!(met > 0, "no {method} met the member that hangs up");
        assert_eq!(failed > 0, !again, "{method}");
    }
    balancer.stop().await;
}

#[tokio::test]
async fn post_refused_at_connect_goes_to_another_member() {
    let (_cluster, [a, mut b, c]) = three();
    let dir = folder(&[&a]);
    // So slow that only the refused connections tell.
    super::rig::set(dir.path(), "check_ms = 60000\n");
    let balancer = Balancer::start(dir.path()).await;
    balancer.serves(&[&a, &b, &c]).await;
    b.kill();
    for n in 0..12 {
        let answer = balancer.send(Method::POST, &format!("/{n}")).await.unwrap();
        assert_eq!(answer.status, StatusCode::OK);
    }
    assert_eq!(a.requests() + c.requests(), 12);
    balancer.stop().await;
}

#[tokio::test]
async fn without_ready_member_balancer_answers_with_envelope() {
    let (_cluster, mut members) = three();
    let dir = folder(&[&members[0]]);
    let balancer = Balancer::start(dir.path()).await;
    balancer.serves(&members.iter().collect::<Vec<_>>()).await;
    members.iter_mut().for_each(Fake::kill);
    balancer.serves(&[]).await;

    let mut cids = Vec::new();
    for method in [Method::GET, Method::POST] {
        let answer = balancer.send(method, "/orders").await.unwrap();
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers["content-type"], "application/json");
        let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        let cid = body["zato_env"]["cid"].as_str().unwrap();
        assert_eq!(body["zato_env"]["result"], "ZATO_ERROR");
        assert_eq!(
            body["zato_env"]["details"],
            "No member is ready to handle the request"
        );
        assert_eq!(answer.headers["x-zato-cid"], cid);
        let number = cid.strip_prefix('K').unwrap();
        assert_eq!(number.len(), 39);
        number.parse::<u128>().unwrap();
        cids.push(cid.to_owned());
    }
    assert_ne!(cids[0], cids[1]);

    let alive = balancer.get("/zato-lb-alive").await.unwrap();
    assert_eq!(alive.status, StatusCode::OK);
    assert!(alive.body.contains("Service ready."), "{}", alive.body);
    let stats = balancer.get("/zato-lb-stats").await.unwrap();
    assert!(stats.body.contains("member-3"), "{}", stats.body);
    balancer.stop().await;
}

#[tokio::test]
async fn silent_member_costs_its_timeout_without_retry() {
    let (_cluster, [a, b, c]) = three();
    let dir = folder(&[&a]);
    super::rig::set(dir.path(), "server_timeout_ms = 300\n");
    let balancer = Balancer::start(dir.path()).await;
    balancer.serves(&[&a, &b, &c]).await;
    let asked = tokio::time::timeout(Duration::from_secs(5), balancer.get("/slow"));
    let answer = asked.await.unwrap().unwrap();
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
    assert!(answer.body.contains("ZATO_ERROR"), "{}", answer.body);
    assert_eq!(a.requests() + b.requests() + c.requests(), 1);
    balancer.stop().await;
}
