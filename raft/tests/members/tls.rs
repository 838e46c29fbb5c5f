//! Groups whose members know each other by certificates. With `MEMBERS_BEHIND_TLS=1` the groups of
//! all other tests have them too, but for those that call a member's port themselves.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use quorate_proto::peer::{
    AdmitRequest, AppendRequest, Ballot, LeaderId, LogId, Member, Reason, SnapshotChunk,
    SnapshotHeader, TransferRequest, VoteRequest, raft_client::RaftClient, snapshot_chunk::Part,
};
use quorate_tls::{
    CertificateAuthority, CertificateFiles, CertificateIdentity, ExpectedMember, MemberDialer,
    MemberTls, MemberTlsFiles, ReloadOutcome, Reloadable, TrustFile, Validity,
};
use tempfile::TempDir;
use tonic::{
    Code, Request, Status,
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};

use crate::group::{Group, One, SOON, until, within};

const NAMES: [&str; 3] = ["member-1", "member-2", "member-3"];

fn write(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Makes an authority in a folder of its own.
fn authority() -> (TempDir, CertificateAuthority) {
    let dir = TempDir::new().unwrap();
    let authority = CertificateAuthority::create(Some("test")).unwrap();
    write(dir.path(), "ca.pem", authority.cert_pem());
    write(dir.path(), "ca.key", authority.key_pem());
    (dir, authority)
}

fn issue(dir: &Path, authority: &CertificateAuthority, name: &str) {
    let uri = format!("quorate://test/member-name/{name}");
    let identity = CertificateIdentity::parse(&uri).unwrap();
    let issued = authority.issue(&identity, &[], None).unwrap();
    write(dir, &format!("{name}.pem"), &issued.cert_pem);
    write(dir, &format!("{name}.key"), &issued.key_pem);
}

/// Makes an authority, and a certificate for each member.
pub fn certificates(names: &[&str]) -> TempDir {
    let (dir, authority) = authority();
    for name in names {
        issue(dir.path(), &authority, name);
    }
    dir
}

/// Loads the TLS of one of them.
pub fn load(dir: &Path, name: &str) -> Arc<MemberTls> {
    let files = MemberTlsFiles {
        pair: CertificateFiles {
            cert: dir.join(format!("{name}.pem")),
            key: dir.join(format!("{name}.key")),
        },
        ca: TrustFile(dir.join("ca.pem")),
        crl: None,
    };
    MemberTls::load(files, name).unwrap()
}

/// Returns the TLS of a member, where all members of this test program are to have it.
pub fn if_asked(name: &str) -> Option<Arc<MemberTls>> {
    static ALL: OnceLock<(TempDir, CertificateAuthority)> = OnceLock::new();
    std::env::var_os("MEMBERS_BEHIND_TLS")?;
    let (dir, authority) = ALL.get_or_init(authority);
    issue(dir.path(), authority, name);
    Some(load(dir.path(), name))
}

async fn group(dir: &Path) -> Group {
    let prepare = |one: &mut One| one.tls = Some(load(dir, &one.member.name));
    Group::start_each(3, 500, prepare).await
}

// Test 8 in part: all of it goes through proxies, which forward ports.
#[tokio::test]
async fn group_behind_tls_elects_writes_and_recovers() {
    let dir = certificates(&NAMES);
    let mut group = group(dir.path()).await;
    let leader = group.settled().await;
    for key in 0..20 {
        group.all[key as usize % 3].write(key).await.unwrap();
    }
    group.all[leader].kill();
    let next = group.settled().await;
    assert_ne!(next, leader);
    group.all[next].write(20).await.unwrap();
    group.all[leader]
        .start(quorate_raft::NodeStartMode::Resume)
        .await;
    group.settled().await;
    group.all_there().await;
    group.same().await;
}

/// Writes a certificate of member-3 that ends so soon, and has it loaded.
fn renew(dir: &Path, lasts: Duration) {
    let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
    let authority = CertificateAuthority::from_pem(&read("ca.pem"), &read("ca.key")).unwrap();
    let identity = CertificateIdentity::parse("quorate://test/member-name/member-3").unwrap();
    let now = quorate_clock::wall_time();
    let validity = Validity {
        not_before: now - Duration::from_secs(60),
        not_after: now + lasts,
    };
    let issued = authority.issue_for(&identity, &[], validity).unwrap();
    fs::write(dir.join("member-3.key"), issued.key_pem).unwrap();
    fs::write(dir.join("member-3.pem"), issued.cert_pem).unwrap();
}

// Tests 1 and 11 in part: a member whose certificate has expired loses its peers at the next
// handshake and not before; the others keep the quorum; a new certificate mends it at once.
// guarantee: SECURITY-11
#[tokio::test]
async fn expired_member_is_out_until_renewed() {
    let dir = certificates(&NAMES);
    let group = group(dir.path()).await;
    if group.settled().await == 2 {
        let first = group.all[0].id();
        let handed = group.all[2].run(move |node| async move {
            node.transfer(Some(first), quorate_clock::Instant::now() + SOON)
                .await
        });
        handed.await.unwrap().unwrap();
    }
    let tls = group.all[2].tls.clone().unwrap();
    let lasts = Duration::from_secs(3);
    renew(dir.path(), lasts);
    assert_eq!(tls.reload().unwrap(), ReloadOutcome::Reloaded);
    until("the certificate has expired", || tls.has_expired()).await;
    // What is open stays open.
    group.settled().await;
    group.all_there().await;
    let term = group.all[0].node().leadership().borrow().term;
    let lost = group.all[2].id();
    let missed = group.all[0].node().unreachable_members();
    for cut in [true, false] {
        for other in [0, 1] {
            group.reset(2, other, cut);
        }
        until("the others miss it", || missed.borrow().contains(&lost)).await;
    }
    for key in 0..5 {
        group.all[0].write(key).await.unwrap();
    }
    let is_back = within(Duration::from_secs(1), || !missed.borrow().contains(&lost));
    assert!(!is_back.await, "an expired certificate was taken");
    renew(dir.path(), Duration::from_secs(86_400));
    assert_eq!(tls.reload().unwrap(), ReloadOutcome::Reloaded);
    group.settled().await;
    group.all_there().await;
    group.same().await;
    assert_eq!(group.all[0].node().leadership().borrow().term, term);
}

/// Dials a member with another member's certificate.
fn client(
    dir: &Path,
    of: &One,
    bearer: &str,
) -> RaftClient<
    InterceptedService<
        Channel,
        impl Fn(Request<()>) -> Result<Request<()>, Status> + Clone + use<>,
    >,
> {
    let expected = ExpectedMember {
        id: of.id(),
        name: Some(of.member.name.clone()),
    };
    let dialer = MemberDialer::new(load(dir, bearer).connector(), expected);
    let endpoint = Endpoint::from_shared(format!("http://{}", of.member.peer)).unwrap();
    let channel = endpoint.connect_with_connector_lazy(dialer);
    let (cluster, target) = (of.node().cluster().to_owned(), of.id().to_string());
    let stamp = move |mut request: Request<()>| {
        let metadata = request.metadata_mut();
        metadata.insert("quorate-cluster", cluster.parse().unwrap());
        metadata.insert("quorate-target", target.parse().unwrap());
        Ok(request)
    };
    RaftClient::new(InterceptedService::new(channel, stamp))
}

fn ballot(term: u64, member: u64, committed: bool) -> Option<Ballot> {
    Some(Ballot {
        leader: Some(LeaderId { term, member }),
        committed,
    })
}

// Test 5: Append, Vote, Snapshot, Admit and the rest, all in the name of another member.
// guarantee: SECURITY-9
#[tokio::test]
async fn calls_under_another_certificate_change_nothing() {
    #[cfg(feature = "mutants")]
    quorate_planted::plant_as_asked().expect("a bug that there is");
    let dir = certificates(&NAMES);
    let mut group = group(dir.path()).await;
    let leader = group.settled().await;
    group.all[leader].write(1).await.unwrap();
    group.all_there().await;
    let followers = group.followers(leader);
    let (victim, other) = (followers[0], followers[1]);
    let before = *group.all[victim].node().leadership().borrow();
    let term = before.term + 10;
    let own = &group.all[victim].member.clone();
    let (claimed, bearer) = (group.all[leader].id(), group.all[other].member.name.clone());
    let mut client = client(dir.path(), &group.all[victim], &bearer);
    let last = Some(LogId {
        leader: Some(LeaderId {
            term: term - 1,
            member: claimed,
        }),
        index: 1 << 40,
    });
    let vote = VoteRequest {
        ballot: ballot(term, claimed, false),
        last,
        transfer: true,
        reason: Reason::Transfer.into(),
    };
    let append = AppendRequest {
        ballot: ballot(term, claimed, true),
        lease_us: 1_000,
        ..AppendRequest::default()
    };
    let header = SnapshotHeader {
        ballot: ballot(term, claimed, true),
        snapshot_id: "1-1-1-1".to_owned(),
        ..SnapshotHeader::default()
    };
    let header = SnapshotChunk {
        part: Some(Part::Header(header)),
    };
    let transfer = TransferRequest {
        from: ballot(term, claimed, true),
        to: group.all[victim].id(),
        last: None,
    };
    let admit = AdmitRequest {
        id: claimed,
        member: Some(Member {
            name: own.name.clone(),
            http: own.http.clone(),
            admin: own.admin.clone(),
            peer: own.peer.clone(),
        }),
        deadline_ms: 1_000,
        vote: true,
    };
    let refusals = [
        client.vote(vote.clone()).await.map(drop),
        client.pre_vote(vote.clone()).await.map(drop),
        client.append(append.clone()).await.map(drop),
        client
            .install_snapshot(tokio_stream::iter([header]))
            .await
            .map(drop),
        client.transfer_leader(transfer).await.map(drop),
        client.admit(admit).await.map(drop),
    ];
    for refused in refusals {
        let status = refused.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
        assert!(status.message().contains(&bearer), "{status}");
    }
    // A stream of the log ends at its first message, and nothing of it is taken.
    let stream = client.append_stream(tokio_stream::iter([append])).await;
    if let Ok(answers) = stream {
        let answer = answers.into_inner().message().await;
        assert!(!matches!(answer, Ok(Some(_))), "{answer:?}");
    }
    let now = *group.all[victim].node().leadership().borrow();
    assert_eq!((now.term, now.leader), (before.term, before.leader));
    // Nothing was persisted: after a restart it knows of no later term either.
    group.all[victim].kill();
    group.all[victim]
        .start(quorate_raft::NodeStartMode::Resume)
        .await;
    until("the old leader is followed again", || {
        let seen = *group.all[victim].node().leadership().borrow();
        seen.leader == before.leader
    })
    .await;
    let now = *group.all[victim].node().leadership().borrow();
    assert!(now.term < term, "{now:?}");
    // The same question, asked by its own member, is one like any other. (The vote itself would be
    // one that this member knows nothing of.)
    let mut own_client = self::client(
        dir.path(),
        &group.all[victim],
        &group.all[leader].member.name,
    );
    let asked = tokio::time::timeout(SOON, own_client.pre_vote(vote)).await;
    asked.unwrap().unwrap();
    group.settled().await;
}
