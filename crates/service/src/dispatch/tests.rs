//! Several members on one machine, each served by a runtime of its own, so that killing one
//! takes its sockets with it.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt;
use quorate_proto::peer::{
    Invocation, invocation_result::Outcome, services_client::ServicesClient,
};
use quorate_types::{Member, MemberStatus, Role};
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_stream::wrappers::TcpListenerStream;

use super::*;
use crate::{
    api::{ALWAYS, Origin, Service},
    testing::{StateFixture, eventually, message, request, upstream::nobody},
};

const CLUSTER: &str = "c0ffee";
const PAUSE: Duration = Duration::from_secs(60);

/// Counts its calls.
struct CountingService {
    calls: AtomicUsize,
}

#[async_trait]
impl Service for CountingService {
    async fn handle(&self, request: Request) -> Result<Reply, ServiceError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        match &request.body[..] {
            b"fail" => Err(ServiceError::Failed("as asked".into())),
            b"hang" => std::future::pending().await,
            b"panic" => panic!("as asked"),
            _ => Ok(Reply::text(
                200,
                format!("{} {}", request.path, request.params.len()),
            )),
        }
    }
}

struct TestMember {
    id: MemberId,
    address: SocketAddr,
    counting: Arc<CountingService>,
    services: Arc<Services>,
    runtime: Option<Runtime>,
}

impl TestMember {
    fn start(
        id: MemberId,
        carried: &[&str],
        group: &StateFixture,
        address: Option<SocketAddr>,
    ) -> TestMember {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let counting = Arc::new(CountingService {
            calls: AtomicUsize::new(0),
        });
        let carried = carried
            .iter()
            .map(|name| (name.to_string(), counting.clone() as Arc<dyn Service>))
            .collect::<BTreeMap<_, _>>();
        let services = Services::new(carried, group.watch());
        let caught_up: CatchUp = Arc::new(|_| async { Ok(()) }.boxed());
        let server = {
            let _in_it = runtime.enter();
            InvokeServer::new(
                CLUSTER,
                id,
                services.clone(),
                runtime.handle().clone(),
                Arc::new(|| PAUSE),
                caught_up,
            )
        };
        let wanted = address.unwrap_or("127.0.0.1:0".parse().unwrap());
        let (tx, rx) = std::sync::mpsc::sync_channel(1);
        runtime.spawn(async move {
            let listener = TcpListener::bind(wanted).await.unwrap();
            tx.send(listener.local_addr().unwrap()).unwrap();
            tonic::transport::Server::builder()
                .add_service(server)
                .serve_with_incoming(TcpListenerStream::new(listener))
                .await
        });
        let address = rx.recv_timeout(Duration::from_secs(5)).unwrap();
        TestMember {
            id,
            address,
            counting,
            services,
            runtime: Some(runtime),
        }
    }

    fn calls(&self) -> usize {
        self.counting.calls.load(Ordering::SeqCst)
    }

    fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for TestMember {
    fn drop(&mut self) {
        self.kill();
    }
}

fn listed(id: MemberId, address: SocketAddr) -> MemberStatus {
    let member = Member {
        name: format!("m{id}"),
        peer: address.to_string(),
        ..Member::default()
    };
    MemberStatus {
        id,
        member,
        role: Role::Voter,
        lag: None,
        reachable: None,
    }
}

struct DispatchCluster {
    group: StateFixture,
    members: Vec<TestMember>,
    listed: watch::Sender<MemberList>,
    silent: watch::Sender<Arc<BTreeSet<MemberId>>>,
    dispatcher: Arc<ServiceDispatcher>,
}

impl DispatchCluster {
    /// Members 1, 2, 3; the dispatcher is member 1's. `carried` is what each has in code.
    fn start(carried: [&[&str]; 3]) -> DispatchCluster {
        let mut group = StateFixture::new();
        for (id, carried) in (1..).zip(carried) {
            group.announce(id, carried);
        }
        let members: Vec<_> = (1..)
            .zip(carried)
            .map(|(id, carried)| TestMember::start(id, carried, &group, None))
            .collect();
        let list = members
            .iter()
            .map(|member| listed(member.id, member.address))
            .collect();
        let listed = watch::Sender::new(list);
        let silent = watch::Sender::default();
        let dispatcher = ServiceDispatcher::new(
            CLUSTER,
            1,
            listed.subscribe(),
            silent.subscribe(),
            members[0].services.clone(),
            None,
        );
        DispatchCluster {
            group,
            members,
            listed,
            silent,
            dispatcher,
        }
    }

    async fn send(&self, body: &'static str) -> Result<Reply, ServiceError> {
        let mut request = message(u64::MAX);
        request.body = Bytes::from_static(body.as_bytes());
        self.dispatcher.dispatch("count", request, ALWAYS).await
    }

    fn calls(&self) -> [usize; 3] {
        [0, 1, 2].map(|index| self.members[index].calls())
    }
}

const ALL: [&[&str]; 3] = [&["count"], &["count"], &["count"]];

#[tokio::test]
async fn members_take_turns_and_this_one_too() {
    let cluster = DispatchCluster::start(ALL);
    for _ in 0..30 {
        cluster.send("").await.unwrap();
    }
    assert_eq!(cluster.calls(), [10, 10, 10]);
}

/// An HTTP server that answers with 200; how often it was called.
async fn upstream() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let answer = move || {
        counted.fetch_add(1, Ordering::SeqCst);
        async {}
    };
    let router = axum::Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, calls)
}

#[tokio::test]
async fn unreachable_upstream_is_called_by_others() {
    let mut cluster = DispatchCluster::start(ALL);
    let (url, calls) = upstream().await;
    let service = serde_json::json!({"upstream": url});
    cluster.group.service("count", service);
    for _ in 0..12 {
        cluster.send("").await.unwrap();
    }
    assert_eq!(calls.load(Ordering::SeqCst), 12);
    assert!(
        cluster.dispatcher.peers.lock().is_empty(),
        "others were asked"
    );

    cluster.members[0].services.refuse_messages();
    for _ in 0..12 {
        cluster.send("").await.unwrap();
    }
    assert_eq!(calls.load(Ordering::SeqCst), 24);
    assert_eq!(cluster.dispatcher.peers.lock().len(), 2);
}

#[tokio::test]
async fn only_members_carrying_the_service_are_asked() {
    let mut cluster = DispatchCluster::start([&[], &["count"], &[]]);
    for _ in 0..6 {
        cluster.send("").await.unwrap();
    }
    assert_eq!(cluster.calls(), [0, 6, 0]);
    let error = cluster
        .dispatcher
        .dispatch("unheard-of", message(9), ALWAYS)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, ServiceError::NotRun(why) if why.contains("no member carries")),
        "{error:?}"
    );
    // By the name that the catalog gives it.
    cluster
        .group
        .service("orders", serde_json::json!({"builtin": "count"}));
    cluster
        .dispatcher
        .dispatch("orders", message(u64::MAX), ALWAYS)
        .await
        .unwrap();
    assert_eq!(cluster.calls(), [0, 7, 0]);
}

#[tokio::test]
async fn requests_for_other_programs_go_whole() {
    let cluster = DispatchCluster::start([&[], &["count"], &[]]);
    let mut call = request(Origin::Http(Some("c".into())));
    call.path = "/orders/1".into();
    call.params.insert("id".into(), "1".into());
    let reply = cluster.members[0]
        .services
        .call_anywhere("count", call)
        .await
        .unwrap();
    assert_eq!(reply.body, "/orders/1 1");
    assert_eq!(cluster.calls(), [0, 1, 0]);
}

#[tokio::test]
async fn dead_member_costs_no_message_and_returns() {
    let mut cluster = DispatchCluster::start(ALL);
    for _ in 0..9 {
        cluster.send("").await.unwrap();
    }
    cluster.members[1].kill();
    let address = cluster.members[1].address;
    // The fate of a message that was sent into its last moment is not known.
    let mut unknown = 0;
    eventually("it is noticed", async || {
        unknown += usize::from(cluster.send("").await.is_err());
        cluster.dispatcher.comes_last(2)
    })
    .await;
    assert!(unknown <= 1, "{unknown}");
    let before = cluster.calls().iter().sum::<usize>();
    let begun = Instant::now();
    for _ in 0..300 {
        cluster.send("").await.unwrap();
    }
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(cluster.calls().iter().sum::<usize>(), before + 300);
    let [one, _, three] = cluster.calls();
    assert!(
        one.abs_diff(three) <= 2,
        "{one} {three}: the two that live share the work"
    );

    cluster.members[1] = TestMember::start(2, &["count"], &cluster.group, Some(address));
    eventually("it is asked again", async || {
        cluster.send("").await.unwrap();
        cluster.members[1].calls() > 0
    })
    .await;
}

#[tokio::test]
async fn moved_member_is_found_at_new_address() {
    let mut cluster = DispatchCluster::start([&[], &["count"], &[]]);
    cluster.send("").await.unwrap();
    cluster.members[1] = TestMember::start(2, &["count"], &cluster.group, None);
    let moved = cluster.members[1].address;
    cluster
        .listed
        .send_modify(|list| list[1].member.peer = moved.to_string());
    cluster.send("").await.unwrap();
    assert_eq!(cluster.calls(), [0, 1, 0]);
}

#[tokio::test]
async fn call_that_may_have_run_is_not_repeated() {
    let cluster = DispatchCluster::start(ALL);
    for (body, total) in [("fail", 1), ("panic", 2)] {
        let error = cluster.send(body).await.unwrap_err();
        assert!(matches!(error, ServiceError::Failed(_)), "{error:?}");
        assert_eq!(cluster.calls().iter().sum::<usize>(), total);
    }
    // The member dies over it.
    let mut cluster = DispatchCluster::start([&[], &["count"], &[]]);
    let dispatcher = cluster.dispatcher.clone();
    let call = tokio::spawn(async move {
        let mut hang = message(u64::MAX);
        hang.body = Bytes::from_static(b"hang");
        dispatcher.dispatch("count", hang, ALWAYS).await
    });
    let counting = cluster.members[1].counting.clone();
    eventually("it has begun", async || {
        counting.calls.load(Ordering::SeqCst) == 1
    })
    .await;
    cluster.members[1].kill();
    let error = call.await.unwrap().unwrap_err();
    assert!(
        matches!(&error, ServiceError::Failed(why) if why.contains("not known")),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_deadline_over_there_is_a_deadline() {
    let cluster = DispatchCluster::start([&[], &["count"], &[]]);
    let mut hang = message(u64::MAX);
    hang.body = Bytes::from_static(b"hang");
    hang.deadline = Instant::now() + Duration::from_millis(150);
    let begun = Instant::now();
    let error = cluster
        .dispatcher
        .dispatch("count", hang, ALWAYS)
        .await
        .unwrap_err();
    assert!(matches!(error, ServiceError::TimedOut(_)), "{error:?}");
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn silent_member_is_noticed_in_a_second() {
    let cluster = DispatchCluster::start([&[], &["count"], &[]]);
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    cluster
        .listed
        .send_modify(|list| list[1].member.peer = address.to_string());
    let begun = Instant::now();
    let error = cluster.send("").await.unwrap_err();
    assert!(
        matches!(error, ServiceError::Failed(_)),
        "it was sent: {error:?}"
    );
    assert!(
        begun.elapsed() < Duration::from_millis(2500),
        "{:?}",
        begun.elapsed()
    );
}

// guarantee: REIGN-2, FENCE-4
#[tokio::test]
async fn old_epochs_are_refused_by_every_member() {
    let mut cluster = DispatchCluster::start(ALL);
    let old = cluster.group.take_over();
    let new = cluster.group.take_over();
    for _ in 0..3 {
        let error = cluster
            .dispatcher
            .dispatch("count", message(old), ALWAYS)
            .await
            .unwrap_err();
        assert_eq!(error, ServiceError::Fenced(new));
    }
    assert_eq!(cluster.calls(), [0, 0, 0]);
    for _ in 0..3 {
        cluster
            .dispatcher
            .dispatch("count", message(new), ALWAYS)
            .await
            .unwrap();
    }
    assert_eq!(cluster.calls(), [1, 1, 1]);
}

#[tokio::test]
async fn a_member_that_is_stopping_is_passed_over() {
    let cluster = DispatchCluster::start(ALL);
    cluster.members[2].services.refuse_messages();
    cluster.members[0].services.refuse_messages();
    for _ in 0..20 {
        cluster.send("").await.unwrap();
    }
    assert_eq!(cluster.calls(), [0, 20, 0]);
}

#[tokio::test]
async fn stopping_member_runs_calls_nobody_takes() {
    let cluster = DispatchCluster::start(ALL);
    for member in &cluster.members {
        member.services.refuse_messages();
    }
    cluster.send("").await.unwrap();
    assert_eq!(cluster.calls(), [1, 0, 0]);
}

// guarantee: FAILOVER-12
#[tokio::test]
async fn a_member_that_is_silent_is_asked_last() {
    let cluster = DispatchCluster::start(ALL);
    // Accepts connections and answers nothing, as a process does that is paused.
    let paused = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let paused_at = paused.local_addr().unwrap();
    cluster
        .listed
        .send_modify(|members| members[1] = listed(2, paused_at));
    cluster.silent.send_replace(Arc::new([2].into()));
    for _ in 0..20 {
        cluster.send("").await.unwrap();
    }
    assert_eq!(cluster.calls(), [10, 0, 10]);
    let asked = tokio::time::timeout(Duration::from_millis(50), paused.accept()).await;
    assert!(asked.is_err(), "the silent member was asked");
}

// guarantee: FENCE-3
#[tokio::test]
async fn message_is_not_forwarded_after_permit_loss() {
    let cluster = DispatchCluster::start(ALL);
    cluster.members[1].services.refuse_messages();
    let asked = AtomicUsize::new(0);
    // Good for one try; the first that is asked may take it or not.
    let permit = || asked.fetch_add(1, Ordering::SeqCst) == 0;
    let mut refused = 0;
    for _ in 0..3 {
        asked.store(0, Ordering::SeqCst);
        let answer = cluster
            .dispatcher
            .dispatch("count", message(u64::MAX), &permit)
            .await;
        match answer {
            Ok(_) => {}
            Err(ServiceError::NotRun(why)) if why.contains("lease") => refused += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(refused, 1, "member 2 had its turn");
    assert_eq!(cluster.calls().iter().sum::<usize>(), 2);
}

#[tokio::test]
async fn misdirected_call_is_not_run() {
    let cluster = DispatchCluster::start(ALL);
    let there = cluster.members[1].address;
    for (name, id) in [("another-cluster", 2), (CLUSTER, 3)] {
        let peer = PeerChannel::new(name, id, &there.to_string(), None).unwrap();
        let invocation =
            invocation_codec::to_invocation("count", message(u64::MAX), Instant::now());
        let sent = peer
            .invoke(invocation, Instant::now() + Duration::from_secs(5))
            .await;
        assert!(
            matches!(&sent, InvocationOutcome::NotRun(why) if why.contains("meant for another"))
        );
        assert!(!peer.is_down());
    }
    let mut bare = ServicesClient::connect(format!("http://{there}"))
        .await
        .unwrap();
    let refusal = bare.invoke(Invocation::default()).await.unwrap_err();
    assert!(refusal.message().contains("quorate-cluster"), "{refusal:?}");
    assert_eq!(cluster.calls(), [0, 0, 0]);
}

#[tokio::test]
async fn the_probe_gets_an_answer_and_runs_nothing() {
    let cluster = DispatchCluster::start(ALL);
    let member = &cluster.members[1];
    let mut request = tonic::Request::new(Invocation::default());
    request
        .metadata_mut()
        .insert("quorate-cluster", CLUSTER.parse().unwrap());
    request
        .metadata_mut()
        .insert("quorate-target", "2".parse().unwrap());
    let mut client = ServicesClient::connect(format!("http://{}", member.address))
        .await
        .unwrap();
    let answer = client.invoke(request).await.unwrap().into_inner();
    assert!(
        matches!(answer.outcome, Some(Outcome::NotRun(_))),
        "{answer:?}"
    );
}

#[tokio::test]
async fn lone_member_serves_itself() {
    let cluster = DispatchCluster::start(ALL);
    let (a, b) = (nobody().await, nobody().await);
    cluster
        .listed
        .send_replace(vec![listed(1, a), listed(2, a), listed(3, b)]);
    for _ in 0..20 {
        cluster.send("").await.unwrap();
    }
    cluster.listed.send_replace(Vec::new());
    cluster.send("").await.unwrap();
    assert_eq!(cluster.calls(), [21, 0, 0]);
}
