//! Settings that are accepted, and the errors of those that are not.

use super::*;

fn load(text: &str) -> Result<BalancerSettings, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("balancer.toml");
    fs::write(&path, text).unwrap();
    BalancerSettings::load(&path).map_err(|e| e.to_string())
}

#[test]
fn default_settings_file_can_be_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("balancer");
    let bind = "127.0.0.1:11223".parse().unwrap();
    let urls = [
        "http://127.0.0.1:17110".to_owned(),
        "http://127.0.0.1:17111".to_owned(),
    ];
    let path = write_default(&home, bind, &urls, "").unwrap();
    assert_eq!(path, home.join("balancer.toml"));
    let settings = BalancerSettings::load(&path).unwrap();
    assert_eq!(settings.bind, bind);
    assert_eq!(settings.members, ["127.0.0.1:17110", "127.0.0.1:17111"]);
    assert_eq!(settings.dir, home.join("."));
    assert_eq!(settings.poll, Duration::from_millis(500));

    // What somebody has written is theirs.
    fs::write(&path, "members = [\"http://h:1\"]\n").unwrap();
    write_default(&home, bind, &urls, "").unwrap();
    assert_eq!(BalancerSettings::load(&path).unwrap().members, ["h:1"]);
}

#[test]
fn wrong_setting_error_names_setting_and_rule() {
    let member = "members = [\"http://127.0.0.1:17110\"]\n";
    let table: &[(&str, &[&str])] = &[
        ("", &["members is empty", "http://127.0.0.1:17110"]),
        ("members = 5", &["invalid type", "expected a sequence"]),
        (
            "members = [\"127.0.0.1:17110\"]",
            &["members has \"127.0.0.1:17110\"", "http://"],
        ),
        (
            "members = [\"https://h:1\"]",
            &["members has \"https://h:1\"", "members_tls"],
        ),
        (
            "members = [\"http://h:1/v1\"]",
            &["members has \"http://h:1/v1\""],
        ),
        ("members = [\"http://u:p@h:1\"]", &["members has"]),
        (
            "members = [\"http://h:0\"]",
            &["members has \"http://h:0\""],
        ),
        ("bnid = \"127.0.0.1:1\"", &["unknown field `bnid`", "bind"]),
        (
            "bind = \"localhost:11223\"",
            &["bind is \"localhost:11223\"", "IP address"],
        ),
        ("bind = \"127.0.0.1\"", &["bind is", "port"]),
        ("bind = \"127.0.0.1:0\"", &["from 1 to 65535"]),
        ("bind = \"127.0.0.1:80\\n    bind *:81\"", &["bind is"]),
        (
            "bind = \"0.0.0.0:11223\"",
            &["in the clear", "insecure = true"],
        ),
        ("haproxy = \"\"", &["haproxy is empty"]),
        ("poll_ms = 1", &["poll_ms is 1", "from 50 to 60000"]),
        ("poll_ms = -1", &["invalid value", "-1"]),
        ("check_ms = 0", &["check_ms is 0", "from 20 to 60000"]),
        ("connect_timeout_ms = 1", &["connect_timeout_ms is 1"]),
        ("server_timeout_ms = 0", &["server_timeout_ms is 0"]),
        ("client_timeout_ms = 99", &["client_timeout_ms is 99"]),
        (
            "drain_ms = 100000",
            &["drain_ms is 100000", "from 0 to 8000"],
        ),
        (
            "trusted_proxies = [\"proxy.example\"]",
            &["trusted_proxies has \"proxy.example\"", "10.0.0.0/8"],
        ),
        ("trusted_proxies = [\"10.0.0.0/33\"]", &["10.0.0.0/33"]),
        (
            "trusted_proxies = \"10.0.0.5, proxy.example\"",
            &["trusted_proxies has \"proxy.example\""],
        ),
        ("trusted_proxies = 5", &["trusted_proxies", "\"a, b\""]),
        ("maxconn = 0", &["maxconn is 0", "from 1 to 1000000"]),
        ("stats = \"yes\"", &["false or \"everyone\""]),
        ("[tls]\ncert = \"a\"", &["missing field `key`"]),
        (
            "[tls]\ncert = \"a\"\nkey = \"b\"\nca = \"c\"",
            &["unknown field `ca`"],
        ),
        ("bind = ", &["TOML parse error", "line"]),
    ];
    for (line, parts) in table {
        let members = if line.starts_with("members") || line.is_empty() {
            ""
        } else {
            member
        };
        let text = format!("{members}{line}\n");
        let error = load(&text).expect_err(&text);
        assert!(error.contains("balancer.toml"), "{text}: {error}");
        for part in *parts {
            assert!(error.contains(part), "{text}: {part:?} is not in: {error}");
        }
    }
}

#[test]
fn proxies_are_read_as_array_or_commas() {
    for (written, read) in [
        (
            "[\"10.0.0.5\", \"fd00::/8\"]",
            &["10.0.0.5", "fd00::/8"][..],
        ),
        ("\"10.0.0.5, fd00::/8\"", &["10.0.0.5", "fd00::/8"]),
        ("\"\"", &[]),
        ("[]", &[]),
    ] {
        let member = "members = [\"http://127.0.0.1:17110\"]";
        let settings = load(&format!("{member}\ntrusted_proxies = {written}\n")).unwrap();
        assert_eq!(settings.trusted_proxies, read, "{written}");
    }
}

#[test]
fn all_balancer_setting_problems_are_reported_together() {
    let error = load("bind = \"x\"\npoll_ms = 0\nmaxconn = 0\n").unwrap_err();
    for part in ["bind is", "members is", "poll_ms is", "maxconn is"] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn wide_bind_with_insecure_and_names_are_taken() {
    let settings = load(
        "bind = \"0.0.0.0:80\"\ninsecure = true\nmembers = [\"http://one.example:17110/\", \"http://[::1]:1\"]\n",
    )
    .unwrap();
    assert_eq!(settings.members, ["one.example:17110", "[::1]:1"]);
}

#[test]
fn a_missing_file_is_named() {
    let error = BalancerSettings::load(Path::new("/nowhere/balancer.toml")).unwrap_err();
    assert!(
        error.to_string().contains("/nowhere/balancer.toml"),
        "{error}"
    );
}

#[test]
fn front_with_certificate_may_be_reached_by_others() {
    let text = "bind = \"0.0.0.0:443\"\nmembers = \"\"\n[tls]\ncert = \"c\"\nkey = \"/k\"\n";
    let text = text.replace(
        "members = \"\"",
        "members = [\"http://h:1\"]\nstats = \"everyone\"",
    );
    let settings = load(&text).unwrap();
    let files = settings.tls.unwrap();
    assert!(files.cert.is_absolute() && files.cert.ends_with("c"));
    assert_eq!(files.key, Path::new("/k"));
    assert_eq!(settings.stats, StatsPage::Everyone);
}
