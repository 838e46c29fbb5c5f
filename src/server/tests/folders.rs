//! Folders that others may enter: refused before a cluster takes the member in.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
};

use super::*;

fn wide(folder: PathBuf) -> PathBuf {
    fs::create_dir_all(&folder).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
    folder
}

// guarantee: SECURITY-2
#[tokio::test(flavor = "multi_thread")]
async fn member_with_exposed_folders_neither_starts_nor_joins() {
    let dir = tempfile::tempdir().unwrap();
    let one = Alive::start(
        settings(&dir.path().join("one"), ports()),
        StartMode::Bootstrap,
    )
    .await;
    let second = Settings {
        name: "two".into(),
        ..settings(&dir.path().join("two"), ports())
    };
    let join = || StartMode::Join(vec![format!("http://{}", one.admin).parse().unwrap()]);
    let members = async || {
        let (_, told) = one.get("/v1/cluster/members").await.unwrap();
        told["members"].as_array().unwrap().len()
    };
    for exposed in [&second.data_dir, &second.connectors.zmq_ipc_dir] {
        let file = wide(exposed.clone()).join("file");
        fs::write(&file, "").unwrap();
        let server = Server::builder(second.clone()).start_mode(join()).build();
        let never = std::future::pending();
        let refused = server.unwrap().run(never).await.unwrap_err();
        let command = format!("chmod -R go-rwx {}", exposed.display());
        assert!(refused.to_string().contains(&command), "{refused}");
        assert_eq!(members().await, 1);
        fs::remove_file(file).unwrap();
    }
    // With nothing in them they are closed instead, and joining fills one of them.
    let two = Alive::start(second.clone(), join()).await;
    assert_eq!(members().await, 2);
    for closed in [&second.data_dir, &second.connectors.zmq_ipc_dir] {
        let mode = fs::metadata(closed).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
    // Either would wait for a quorum that it can't have without the other.
    two.task.abort();
    one.task.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn insecure_true_is_warned_of_in_status() {
    let dir = tempfile::tempdir().unwrap();
    let open = Settings {
        insecure: crate::settings::InsecureFaces::ALL,
        ..settings(dir.path(), ports())
    };
    let one = Alive::start(open, StartMode::Bootstrap).await;
    let (_, told) = one.get("/v1/cluster/status").await.unwrap();
    assert_eq!(
        told["insecure"]["one"],
        json!(["http", "admin", "peer", "zmq"])
    );
    let warnings = told["warnings"].to_string();
    assert!(
        warnings.contains("one may listen beyond loopback without TLS"),
        "{told}"
    );
    one.end().await.unwrap();
}
