use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt, symlink},
        net::UnixListener,
    },
};

use super::*;

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

// guarantee: SECURITY-3
#[test]
fn only_listed_libraries_unwritable_by_others_are_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let (mq, other) = (root.join("my mq"), root.join("other"));
    for folder in [&mq, &other] {
        fs::create_dir(folder).unwrap();
        mode(folder, 0o755);
    }
    symlink(root.join("gone.so"), mq.join("libnowhere.so")).unwrap();
    fs::create_dir(mq.join("folder")).unwrap();
    let good = mq.join("libmqic_r.so");
    for file in [&good, &other.join("libevil.so")] {
        fs::write(file, "").unwrap();
        mode(file, 0o755);
    }
    symlink(other.join("libevil.so"), mq.join("libsly.so")).unwrap();
    let rules = LocalRules {
        mq_libraries: vec!["libmqic_r.so".into(), format!("{}/**", mq.display())],
        ..LocalRules::default()
    };
    let ask = |path: &Path| rules.library(path.to_str().unwrap());
    assert_eq!(
        rules.library("libmqic_r.so").unwrap(),
        Path::new("libmqic_r.so")
    );
    assert_eq!(ask(&good).unwrap(), good);
    assert_eq!(ask(&mq.join("absent.so")).unwrap(), mq.join("absent.so"));
    for (path, why) in [
        (PathBuf::from("libc.so.6"), "not listed"),
        (other.join("libevil.so"), "not listed"),
        (mq.join("../other/libevil.so"), "not listed"),
        (mq.join("libsly.so"), "it leads to"),
        (mq.join("libnowhere.so"), "leads nowhere"),
        (mq.join("folder"), "is no file"),
    ] {
        let refused = ask(&path).unwrap_err().to_string();
        assert!(
            refused.contains(why) && refused.contains("ibm_mq.libraries"),
            "{refused}"
        );
    }
    let absent = mq.join("absent.so");
    for (path, narrow, asked) in [
        (&good, 0o755, &good),
        (&mq, 0o755, &good),
        (&mq, 0o755, &absent),
        (&root, 0o700, &good),
    ] {
        mode(path, 0o777);
        let refused = ask(asked).unwrap_err().to_string();
        let command = format!("chmod go-w {}", private_folder::quoted(path));
        assert!(refused.contains(&command), "{refused}");
        mode(path, narrow);
    }
    assert_eq!(ask(&good).unwrap(), good);
}

// guarantee: SECURITY-3
#[test]
fn key_repository_must_be_in_folder_and_private() {
    let rules = LocalRules::default();
    assert!(rules.key_repository("/etc/quorate/mq/key.kdb").is_ok());
    for path in [
        "/etc/quorate/mq",
        "/etc/quorate/mq/../../shadow",
        "/tmp/key.kdb",
    ] {
        assert!(rules.key_repository(path).is_err(), "{path}");
    }

    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let rules = LocalRules {
        mq_key_repositories: root.join("mq"),
        ..LocalRules::default()
    };
    let (inside, outside) = (root.join("mq"), root.join("outside.sth"));
    fs::create_dir(&inside).unwrap();
    mode(&inside, 0o755);
    let [keys, stash] = ["one.kdb", "one.sth"].map(|it| inside.join(it));
    for file in [&keys, &stash, &outside] {
        fs::write(file, "").unwrap();
        mode(file, 0o640);
    }
    let ask = |name: &str| rules.key_repository(inside.join(name).to_str().unwrap());
    for name in ["one", "one.kdb", "absent"] {
        assert!(ask(name).is_ok(), "{name}");
    }
    for (file, wide, command) in [(&keys, 0o662, "chmod go-w"), (&stash, 0o644, "chmod o-rwx")] {
        mode(file, wide);
        for name in ["one", "one.kdb"] {
            let refused = ask(name).unwrap_err().to_string();
            assert!(refused.contains(command), "{refused}");
        }
        mode(file, 0o640);
    }
    fs::remove_file(&stash).unwrap();
    symlink(&outside, &stash).unwrap();
    let refused = ask("one").unwrap_err().to_string();
    assert!(refused.contains("it leads to"), "{refused}");
}

// guarantee: SECURITY-3
#[test]
fn ipc_bind_touches_only_sockets_inside_folder() {
    let dir = tempfile::tempdir().unwrap();
    let (inside, outside) = (dir.path().join("zmq"), dir.path().join("outside"));
    fs::create_dir(&inside).unwrap();
    fs::create_dir(&outside).unwrap();
    mode(&inside, 0o700);
    fs::write(inside.join("file"), "kept").unwrap();
    symlink(&outside, inside.join("link")).unwrap();
    let _there = UnixListener::bind(inside.join("socket")).unwrap();
    let rules = LocalRules {
        zmq_ipc_dir: inside.clone(),
        ..LocalRules::default()
    };
    let ask = |path: PathBuf| rules.ipc(path.to_str().unwrap(), true);
    for good in ["new", "socket"] {
        assert!(ask(inside.join(good)).is_ok(), "{good}");
    }
    for (bad, why) in [
        (outside.join("marker"), "elsewhere"),
        (inside.join("../outside/marker"), "elsewhere"),
        (inside.clone(), "elsewhere"),
        (inside.join("link/marker"), "it leads to"),
        (inside.join("file"), "no socket"),
    ] {
        let refused = ask(bad).unwrap_err().to_string();
        assert!(
            refused.contains(why) && refused.contains("zmq.ipc_dir"),
            "{refused}"
        );
    }
    assert_eq!(fs::read(inside.join("file")).unwrap(), b"kept");
    mode(&inside, 0o755);
    for bind in [true, false] {
        let refused = rules.ipc(inside.join("new").to_str().unwrap(), bind);
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("chmod -R go-rwx"), "{refused}");
    }
}

// guarantee: SECURITY-3
#[test]
fn beyond_loopback_only_listed_addresses_are_bound() {
    let rules = |bind: &[&str]| LocalRules {
        zmq_bind: bind.iter().map(|it| (*it).to_owned()).collect(),
        ..LocalRules::default()
    };
    for host in ["127.0.0.1", "127.0.0.2", "[::1]", "lo"] {
        assert!(rules(&[]).bind(host).is_ok(), "{host}");
    }
    for host in ["*", "0.0.0.0", "[::]", "eth0", "192.0.2.1"] {
        assert!(rules(&[]).bind(host).is_err(), "{host}");
        assert!(rules(&["*"]).bind(host).is_ok(), "{host}");
        assert!(rules(&[host]).bind(host).is_ok(), "{host}");
    }
}
