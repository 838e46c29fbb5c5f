//! Owner of a data folder.

use std::fs;

use quorate_clock::Instant;

use super::*;

#[tokio::test]
async fn folder_is_used_by_one_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open_new(dir.path());
    let begun = Instant::now();
    let wait = Duration::from_millis(150);
    let second = super::super::open(dir.path(), wait, Box::new(Ledger::default()));
    let Err(err @ OpenError::Locked { .. }) = second else {
        panic!("two at once");
    };
    assert!(begun.elapsed() >= wait);
    let text = err.to_string();
    assert!(
        text.contains(&format!("process {}", std::process::id())),
        "{text}"
    );
    assert!(text.contains(dir.path().to_str().unwrap()), "{text}");

    // One that waits long enough gets it.
    let path = dir.path().to_owned();
    let waiter = tokio::task::spawn_blocking(move || {
        super::super::open(&path, DEADLINE, Box::new(Ledger::default())).map(|o| o.marker)
    });
    close(opened).await;
    assert_eq!(waiter.await.unwrap().unwrap(), Some(marker()));
}

#[tokio::test]
async fn folder_belongs_to_one_member_of_one_cluster() {
    let dir = tempfile::tempdir().unwrap();
    close(open_new(dir.path())).await;
    let mut opened = open(dir.path()).unwrap();
    assert_eq!(opened.marker, Some(marker()));
    opened.claim_folder(marker()).unwrap();
    for (cluster, member) in [("c0ffee", 2), ("decaf", 1)] {
        let cluster = cluster.to_owned();
        let err = opened
            .claim_folder(FolderMarker { cluster, member })
            .unwrap_err();
        assert!(matches!(err, OpenError::Foreign { .. }), "{err}");
    }
    let other = FolderMarker {
        cluster: "decaf".to_owned(),
        member: 7,
    };
    let text = opened.claim_folder(other).unwrap_err().to_string();
    assert!(
        text.contains("belongs to member 1 of cluster c0ffee, not to member 7 of cluster decaf"),
        "{text}"
    );
    assert_eq!(opened.marker, Some(marker()));
}

#[tokio::test]
async fn a_folder_that_was_never_settled_is_new() {
    let dir = tempfile::tempdir().unwrap();
    close(open(dir.path()).unwrap()).await;
    let opened = open(dir.path()).unwrap();
    assert_eq!(opened.marker, None);
}

#[tokio::test]
async fn parts_that_are_missing_are_named() {
    for (part, said) in [
        (
            "marker",
            "marker can't be trusted: the file is missing, but there is a log",
        ),
        (
            "acknowledged",
            "acknowledged can't be trusted: the file is missing",
        ),
        ("log", "log can't be trusted: the log is missing"),
        ("log/CURRENT", "log can't be trusted: the log is missing"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut opened = open_new(dir.path());
        save_vote(&mut opened.log, 1).await;
        close(opened).await;
        let path = dir.path().join(part);
        if path.is_dir() {
            fs::remove_dir_all(&path).unwrap();
        } else {
            fs::remove_file(&path).unwrap();
        }
        let text = open(dir.path()).err().expect(part).to_string();
        assert!(text.contains(said), "{text}");
        assert!(
            text.contains("as a new member it is given everything"),
            "{text}"
        );
    }
}

// guarantee: SECURITY-2
#[tokio::test]
async fn exposed_folder_is_refused_with_remedy_command() {
    use std::os::unix::fs::PermissionsExt;

    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("deep/its data");
    close(open_new(&data)).await;
    assert_eq!(mode(&data), 0o700);
    assert_eq!(mode(&data.join("marker")), 0o600);
    for wide in [0o755, 0o750, 0o701, 0o770] {
        fs::set_permissions(&data, fs::Permissions::from_mode(wide)).unwrap();
        let Err(err @ OpenError::Folder(_)) = open(&data) else {
            panic!("{wide:o} was taken");
        };
        let text = err.to_string();
        let command = format!("chmod -R go-rwx '{}'", data.display());
        assert!(
            text.contains(&command) && text.contains(&format!("{wide:04o}")),
            "{text}"
        );
    }
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
    close(open(&data).unwrap()).await;
    // Made for a member that has never been there.
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    fs::set_permissions(&empty, fs::Permissions::from_mode(0o755)).unwrap();
    close(open_new(&empty)).await;
    assert_eq!(mode(&empty), 0o700);
}
