use std::{
    collections::BTreeMap, fs, os::unix::process::ExitStatusExt, path::Path, process::ExitStatus,
    time::Duration,
};

use super::{
    folder::QuickstartFolder,
    report::{self, block},
    settings_files, *,
};
use crate::settings::Settings;

fn args(dir: &Path) -> QuickstartArgs {
    QuickstartArgs {
        dir: dir.to_owned(),
        members: 3,
        no_balancer: true,
        port_offset: 0,
        secure: false,
    }
}

fn refusal(result: Result<QuickstartFolder, CliError>) -> String {
    match result {
        Err(CliError::Refused(text)) => text,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn quickstart_settings_match_the_contract() {
    let folder = Path::new("/q/member-2");
    let settings = Settings::from_toml(&settings_files::member("member-2", 1), folder).unwrap();
    assert_eq!(settings.name, "member-2");
    assert_eq!(settings.data_dir, Path::new("/q/member-2/data"));
    assert_eq!(settings.pid_file, Path::new("/q/member-2/pid"));
    let ports = [&settings.http, &settings.admin, &settings.peer].map(|face| face.bind.to_string());
    assert_eq!(
        ports,
        ["127.0.0.1:17011", "127.0.0.1:17111", "127.0.0.1:17211"]
    );
    assert_eq!(settings.failover_ms, 500);
}

#[test]
fn comments_in_written_settings_are_true() {
    // Every commented setting, made a real one, is accepted.
    let text = settings_files::member("member-1", 0);
    let uncommented: String = text
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.split(' ').nth(1) == Some("=") || rest.starts_with('[') => {
                format!("{rest}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    assert_ne!(text, uncommented);
    Settings::from_toml(&uncommented, Path::new("/q")).unwrap();
}

#[test]
fn a_folder_is_made_once_and_then_read() {
    let dir = tempfile::tempdir().unwrap();
    let first = QuickstartFolder::prepare(&QuickstartArgs {
        port_offset: 300,
        ..args(dir.path())
    })
    .unwrap();
    assert_eq!(first.members.len(), 3);
    assert_eq!(first.members[2].settings.http.bind.port(), 17312);
    let config = first.members[0].config.clone();
    drop(first);

    // What the user has changed stays, and other ports are only for what is written now.
    let changed = fs::read_to_string(&config)
        .unwrap()
        .replace("failover_ms = 500", "failover_ms = 900");
    fs::write(&config, changed).unwrap();
    let second = QuickstartFolder::prepare(&QuickstartArgs {
        members: 4,
        ..args(dir.path())
    })
    .unwrap();
    assert_eq!(second.members[0].settings.failover_ms, 900);
    assert_eq!(second.members[2].settings.http.bind.port(), 17312);
    assert_eq!(second.members[3].settings.http.bind.port(), 17013);
    assert_eq!(second.process_specs().len(), 4);
    assert_eq!(second.admin_urls(Some("member-1")).len(), 3);
}

#[test]
fn secure_folder_has_certificates_and_keeps_them() {
    let dir = tempfile::tempdir().unwrap();
    let secure = QuickstartArgs {
        secure: true,
        ..args(dir.path())
    };
    let folder = QuickstartFolder::prepare(&secure).unwrap();
    let tls = folder.members[1].settings.tls.clone().unwrap();
    quorate_tls::MemberTls::load(tls.clone(), "member-2").unwrap();
    assert!(folder.admin_urls(None)[0].starts_with("https://"));
    assert!(block(&folder, "member-1", &[], Duration::ZERO).contains("QUORATE_CA="));
    drop(folder);
    // The second time without the flag; what is missing is made, what is there stays.
    let ca = fs::read(&tls.ca.0).unwrap();
    let cert = fs::read(&tls.pair.cert).unwrap();
    fs::remove_file(dir.path().join("tls/member-3.pem")).unwrap();
    let folder = QuickstartFolder::prepare(&args(dir.path())).unwrap();
    assert_eq!(
        (
            fs::read(&tls.ca.0).unwrap(),
            fs::read(&tls.pair.cert).unwrap()
        ),
        (ca, cert)
    );
    let third = folder.members[2].settings.tls.clone().unwrap();
    quorate_tls::MemberTls::load(third, "member-3").unwrap();
    drop(folder);
    // A plain one isn't made secure behind its members' backs.
    let plain = tempfile::tempdir().unwrap();
    drop(QuickstartFolder::prepare(&args(plain.path())).unwrap());
    let secure = QuickstartArgs {
        secure: true,
        ..args(plain.path())
    };
    assert!(refusal(QuickstartFolder::prepare(&secure)).contains("another folder"));
}

#[test]
fn members_at_new_addresses_may_have_moved() {
    let dir = tempfile::tempdir().unwrap();
    let folder = QuickstartFolder::prepare(&args(dir.path())).unwrap();
    // Nobody has written it down.
    assert!(folder.may_have_moved());
    let mut peers: BTreeMap<String, String> = (1..=3)
        .map(|n| (format!("member-{n}"), format!("127.0.0.1:{}", 17209 + n)))
        .collect();
    peers.insert("another-one".to_owned(), "127.0.0.1:1".to_owned());
    folder.remember(&peers);
    assert!(!folder.may_have_moved());
    peers.insert("member-2".to_owned(), "127.0.0.1:1".to_owned());
    folder.remember(&peers);
    assert!(folder.may_have_moved());
}

#[test]
fn two_quickstarts_do_not_share_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let _held = QuickstartFolder::prepare(&args(dir.path())).unwrap();
    let told = refusal(QuickstartFolder::prepare(&args(dir.path())));
    assert!(told.contains("another quickstart runs on"), "{told}");
}

#[test]
fn clashing_settings_are_reported_with_both_files() {
    let dir = tempfile::tempdir().unwrap();
    let folder = QuickstartFolder::prepare(&args(dir.path())).unwrap();
    let config = folder.members[1].config.clone();
    drop(folder);
    let text = fs::read_to_string(&config)
        .unwrap()
        .replace("17111", "17010");
    fs::write(&config, text).unwrap();
    let told = refusal(QuickstartFolder::prepare(&args(dir.path())));
    assert!(
        told.contains("member-1 (http) and member-2 (admin)"),
        "{told}"
    );
    assert!(told.contains("127.0.0.1:17010"), "{told}");
}

#[test]
fn bad_settings_stop_quickstart_before_any_start() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("member-1")).unwrap();
    fs::write(dir.path().join("member-1/quorate.toml"), "nome = \"a\"").unwrap();
    let told = refusal(QuickstartFolder::prepare(&args(dir.path())));
    assert!(told.contains("did you mean name?"), "{told}");
}

#[test]
fn report_begins_with_ready_and_lists_addresses() {
    let dir = tempfile::tempdir().unwrap();
    let folder = QuickstartFolder::prepare(&QuickstartArgs {
        port_offset: 10,
        ..args(dir.path())
    })
    .unwrap();
    let text = block(
        &folder,
        "member-2",
        &folder.admin_urls(None),
        Duration::from_millis(2345),
    );
    assert!(text.starts_with("ready "), "{text}");
    for part in [
        "2.3 s",
        "3 members, led by member-2",
        "http://127.0.0.1:17021",
        "member-3/quorate.log",
        "member-2/pid",
        "QUORATE_ADMIN=http://127.0.0.1:17120,",
    ] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

#[test]
fn exit_report_has_the_command_to_restart() {
    let dir = tempfile::tempdir().unwrap();
    let folder = QuickstartFolder::prepare(&args(dir.path())).unwrap();
    let told = report::death(&folder.process_specs()[1], Some(ExitStatus::from_raw(9)));
    assert!(
        told.starts_with("member-2 was ended by SIGKILL; start it again with"),
        "{told}"
    );
    assert!(
        told.contains(" server --config ") && told.contains("member-2/quorate.toml"),
        "{told}"
    );
}
