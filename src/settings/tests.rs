use std::path::Path;

use super::*;

fn load(text: &str) -> Result<Settings, SettingsError> {
    Settings::from_toml(text, Path::new("/srv/member-1"))
}

fn load_with(
    text: &str,
    environment: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<Settings, SettingsError> {
    let own = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect::<Vec<_>>()
    };
    let file = Path::new("quorate.toml");
    Settings::from_layers(
        text,
        file,
        Path::new("/srv/member-1"),
        own(environment),
        &own(flags),
    )
}

fn errors(result: Result<Settings, SettingsError>) -> Vec<BadSetting> {
    match result {
        Err(SettingsError::Bad { errors, .. }) => errors,
        other => panic!("expected bad settings, got {other:?}"),
    }
}

#[test]
fn a_name_is_enough() {
    let settings = load("name = \"member-1\"").unwrap();
    assert_eq!(settings.data_dir, Path::new("/srv/member-1/data"));
    assert_eq!(settings.pid_file, Path::new("/srv/member-1/pid"));
    assert_eq!(settings.failover_ms, 500);
    assert_eq!(settings.lock_wait, Duration::from_secs(5));
    assert_eq!(settings.http.bind.to_string(), "127.0.0.1:17010");
    assert_eq!(settings.admin.advertise, "127.0.0.1:17110");
    assert_eq!(settings.peer.bind.port(), 17210);
    assert!(settings.warnings.is_empty());
}

#[test]
fn flags_outrank_the_environment_which_outranks_the_file() {
    let text = "name = \"a\"\nfailover_ms = 1000\n[log]\nlevel = \"warn\"";
    let settings = load_with(
        text,
        &[
            ("QUORATE_FAILOVER_MS", "2000"),
            ("QUORATE_LOG_LEVEL", "debug"),
        ],
        &[],
    )
    .unwrap();
    assert_eq!(
        (settings.failover_ms, settings.log.level.as_str()),
        (2000, "debug")
    );
    let settings = load_with(
        text,
        &[("QUORATE_FAILOVER_MS", "2000")],
        &[("failover_ms", "3000")],
    )
    .unwrap();
    assert_eq!(settings.failover_ms, 3000);
    let settings = load_with(text, &[], &[("insecure", "true"), ("name", "b")]).unwrap();
    assert_eq!(settings.insecure, InsecureFaces::ALL);
    assert_eq!(settings.name, "b");
}

#[test]
fn unused_variable_is_warned_of_except_clients_own() {
    let environment = [
        ("QUORATE_FAILOVR_MS", "1"),
        ("QUORATE_ADMIN", "http://127.0.0.1:1"),
        ("HOME", "/root"),
    ];
    let settings = load_with("name = \"a\"", &environment, &[]).unwrap();
    assert_eq!(settings.warnings.len(), 1, "{:?}", settings.warnings);
    assert!(
        settings.warnings[0].contains("did you mean QUORATE_FAILOVER_MS?"),
        "{:?}",
        settings.warnings
    );
}

#[test]
fn retired_setting_is_taken_with_a_warning() {
    let file = "name = \"a\"\n[http]\nanswer_wait_ms = 300000";
    let variable = [("QUORATE_HTTP_ANSWER_WAIT_MS", "1")];
    for (text, environment, origin) in [
        (file, &variable[..0], "line 3"),
        ("name = \"a\"", &variable[..], "QUORATE_HTTP_ANSWER_WAIT_MS"),
    ] {
        let settings = load_with(text, environment, &[]).unwrap();
        let [warning] = &settings.warnings[..] else {
            panic!("{:?}", settings.warnings)
        };
        assert!(warning.contains("http.answer_wait_ms"), "{warning}");
        assert!(warning.contains(origin), "{warning}");
        assert!(warning.contains("timeout_ms"), "{warning}");
    }
}

#[test]
fn this_host_is_trusted_by_default() {
    let trusted = |text: &str| {
        let settings = load(&format!("name = \"a\"\n{text}")).unwrap();
        let networks = settings.http_limits.trusted_proxies.iter();
        networks.map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(trusted(""), ["127.0.0.0/8", "::1/128"]);
    assert_eq!(
        trusted("http.trusted_proxies = \"10.0.0.5, fd00::/8\""),
        ["10.0.0.5/32", "fd00::/8"]
    );
    assert_eq!(
        trusted("http.trusted_proxies = [\"10.0.0.5\", \"fd00::/8\"]"),
        ["10.0.0.5/32", "fd00::/8"]
    );
    assert!(trusted("http.trusted_proxies = \"\"").is_empty());
    assert!(trusted("http.trusted_proxies = []").is_empty());
}

#[test]
fn absolute_paths_stay() {
    let settings =
        load("name = \"a\"\ndata_dir = \"/var/lib/q/data\"\npid_file = \"run/pid\"").unwrap();
    assert_eq!(settings.data_dir, Path::new("/var/lib/q/data"));
    assert_eq!(settings.pid_file, Path::new("/srv/member-1/run/pid"));
}

/// One bad setting each: the text, the key that is named, the value that is shown, and
/// a part of what is said to be right.
const BAD: &[(&str, &str, &str, &str)] = &[
    ("", "name", "", "every member needs a name"),
    ("name = \"\"", "name", "\"\"", "1 to 63 letters"),
    ("name = 7", "name", "7", "1 to 63 letters"),
    (
        "name = \"two words\"",
        "name",
        "\"two words\"",
        "1 to 63 letters",
    ),
    (
        "name = \"-a\"",
        "name",
        "\"-a\"",
        "beginning with a letter or digit",
    ),
    (
        "name = \"a\"\nfailover_ms = 99",
        "failover_ms",
        "99",
        "from 100 to 60000: in less an election's messages and writes don't fit",
    ),
    (
        "name = \"a\"\nfailover_ms = 60001",
        "failover_ms",
        "60001",
        "needs no promise",
    ),
    (
        "name = \"a\"\nfailover_ms = -1",
        "failover_ms",
        "-1",
        "from 100 to 60000",
    ),
    (
        "name = \"a\"\nfailover_ms = \"500\"",
        "failover_ms",
        "\"500\"",
        "whole number",
    ),
    (
        "name = \"a\"\nfailover_ms = 500.0",
        "failover_ms",
        "500.0",
        "whole number",
    ),
    (
        "name = \"a\"\nfailover_ms = [500]",
        "failover_ms",
        "[500]",
        "whole number",
    ),
    (
        "name = \"a\"\nfaylover_ms = 500",
        "faylover_ms",
        "500",
        "did you mean failover_ms?",
    ),
    (
        "name = \"a\"\ncolour = 1",
        "colour",
        "1",
        "the settings are name, data_dir",
    ),
    (
        "name = \"a\"\n[htpp]\nbind = \"127.0.0.1:1\"",
        "htpp.bind",
        "\"127.0.0.1:1\"",
        "did you mean http.bind?",
    ),
    ("name = \"a\"\n[tsl]\n", "tsl", "{}", "no such setting"),
    (
        "name = \"a\"\n[[http]]\nbind = \"127.0.0.1:1\"",
        "http",
        "",
        "no such setting",
    ),
    (
        "name = \"a\"\ninsecure = 1",
        "insecure",
        "1",
        "true, false, or a list",
    ),
    (
        "name = \"a\"\ndata_dir = true",
        "data_dir",
        "true",
        "a path",
    ),
    (
        "name = \"a\"\ndrain_ms = 60000",
        "drain_ms",
        "60000",
        "from 0 to 6000",
    ),
    (
        "name = \"a\"\nhttp.bind = \"0.0.0.0:17010\"",
        "http.bind",
        "\"0.0.0.0:17010\"",
        "insecure = true",
    ),
    (
        "name = \"a\"\npeer.bind = \"192.0.2.1:17210\"",
        "peer.bind",
        "\"192.0.2.1:17210\"",
        "without TLS",
    ),
    (
        "name = \"a\"\nhttp.bind = \"17010\"",
        "http.bind",
        "\"17010\"",
        "127.0.0.1:17010",
    ),
    (
        "name = \"a\"\nhttp.bind = \"127.0.0.1:0\"",
        "http.bind",
        "\"127.0.0.1:0\"",
        "port 0",
    ),
    (
        "name = \"a\"\nhttp.bind = \"127.0.0.1:70000\"",
        "http.bind",
        "\"127.0.0.1:70000\"",
        "address:port",
    ),
    (
        "name = \"a\"\nhttp.trusted_proxies = \"10.0.0.0/8, proxy.example\"",
        "http.trusted_proxies",
        "\"10.0.0.0/8, proxy.example\"",
        "10.0.0.0/8 or fd00::/8",
    ),
    (
        "name = \"a\"\nhttp.trusted_proxies = 5",
        "http.trusted_proxies",
        "5",
        "\"10.0.0.5, fd00::/8\"",
    ),
    (
        "name = \"a\"\nhttp.bind = 17010",
        "http.bind",
        "17010",
        "as a string",
    ),
    (
        "name = \"a\"\nhttp.advertise = \"example.org\"",
        "http.advertise",
        "\"example.org\"",
        "has no port",
    ),
    (
        "name = \"a\"\nadmin.advertise = \"http://h:1\"",
        "admin.advertise",
        "\"http://h:1\"",
        "is a URL",
    ),
    (
        "name = \"a\"\npeer.advertise = \"0.0.0.0:1\"",
        "peer.advertise",
        "\"0.0.0.0:1\"",
        "nobody can reach",
    ),
    (
        "name = \"a\"\npeer.advertise = \"h:0\"",
        "peer.advertise",
        "\"h:0\"",
        "is no port",
    ),
    (
        "name = \"a\"\npeer.advertise = \"::1:1\"",
        "peer.advertise",
        "\"::1:1\"",
        "in brackets",
    ),
    (
        "name = \"a\"\nadmin.bind = \"127.0.0.1:17010\"",
        "admin.bind",
        "",
        "same port (17010)",
    ),
    (
        "name = \"a\"\nlog.level = \"loud\"",
        "log.level",
        "\"loud\"",
        "off, error, warn",
    ),
    (
        "name = \"a\"\nlog.level = \"info,quorate_raft=loud\"",
        "log.level",
        "\"info,quorate_raft=loud\"",
        "levels by module",
    ),
    (
        "name = \"a\"\nlog.format = \"xml\"",
        "log.format",
        "\"xml\"",
        "\"text\" or \"json\"",
    ),
    (
        "name = \"a\"\nsnapshot.entries = 1",
        "snapshot.entries",
        "1",
        "from 100 to",
    ),
];

#[test]
fn bad_setting_error_names_value_and_rule() {
    for (text, key, value, right) in BAD {
        let errors = errors(load(text));
        assert_eq!(errors.len(), 1, "{text:?}: {errors:?}");
        let error = &errors[0];
        assert_eq!(error.key, *key, "{text:?}");
        if !value.is_empty() {
            assert_eq!(error.value.as_deref(), Some(*value), "{text:?}");
        }
        assert!(error.problem.contains(right), "{text:?}: {}", error.problem);
    }
}

#[test]
fn every_address_needs_an_advertised_one() {
    let text = "name = \"a\"\ninsecure = true\nhttp.bind = \"0.0.0.0:17010\"";
    let errors = errors(load(text));
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].key, "http.advertise");
    let settings = load(&format!("{text}\nhttp.advertise = \"q1.example.org:80\"")).unwrap();
    assert_eq!(settings.http.advertise, "q1.example.org:80");
}

#[test]
fn all_errors_are_reported_with_their_lines() {
    let text =
        "name = \"two words\"\nfailover_ms = 1\n\n[http]\nbind = \"nowhere\"\ncolour = \"red\"\n";
    let error = load_with(
        text,
        &[("QUORATE_DRAIN_MS", "soon")],
        &[("log.format", "xml")],
    )
    .unwrap_err();
    let shown = error.to_string();
    for part in [
        "quorate.toml: 6 bad settings",
        "name = \"two words\" (line 1)",
        "failover_ms = 1 (line 2)",
        "http.bind = \"nowhere\" (line 5)",
        "http.colour = \"red\" (line 6)",
        "drain_ms = \"soon\" (QUORATE_DRAIN_MS)",
        "log.format = \"xml\" (given as a flag)",
    ] {
        assert!(shown.contains(part), "{part:?} is not in:\n{shown}");
    }
}

#[test]
fn invalid_toml_error_names_the_line() {
    let error = load("name = \"a\"\nfailover_ms 500\n").unwrap_err();
    assert!(matches!(error, SettingsError::NotToml { .. }));
    assert!(error.to_string().contains("line 2"), "{error}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Settings::load(Path::new("/nowhere/quorate.toml"), [], &[]).unwrap_err();
    assert!(
        error.to_string().contains("/nowhere/quorate.toml"),
        "{error}"
    );
}

#[test]
fn insecure_list_opens_only_named_listeners() {
    let text = "name = \"a\"\ninsecure = [\"http\"]\nhttp.bind = \"192.0.2.1:80\"";
    let settings = load(text).unwrap();
    let only_http = InsecureFaces {
        http: true,
        ..InsecureFaces::default()
    };
    assert_eq!(settings.insecure, only_http);
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
    let errors = errors(load(&format!("{text}\nadmin.bind = \"192.0.2.1:81\"")));
    assert_eq!(errors[0].key, "admin.bind");
    assert!(
        errors[0].problem.contains("insecure = [\"admin\"]"),
        "{errors:?}"
    );
    let all = load("name = \"a\"\ninsecure = true").unwrap();
    assert_eq!(all.insecure, InsecureFaces::ALL);
    assert_eq!(all.connectors.zmq_bind, ["*"]);
    assert!(
        all.warnings[0].contains("insecure = [\"http\"]"),
        "{:?}",
        all.warnings
    );
    let flags = load_with("name = \"a\"", &[("QUORATE_INSECURE", "http, peer")], &[]).unwrap();
    assert!(flags.insecure.http && flags.insecure.peer && !flags.insecure.admin);
}

// Tests 15 and 63 in part: TLS opens the ports that it protects, and no other.
#[test]
fn tls_opens_peer_and_admin_and_not_http() {
    let tls = "tls.cert = \"a.pem\"\ntls.key = \"/k/a.key\"\ntls.ca = \"ca.pem\"\n";
    let beyond = "admin.bind = \"192.0.2.1:81\"\npeer.bind = \"192.0.2.1:82\"\n";
    let text = format!("name = \"a\"\n{tls}{beyond}");
    let settings = load(&text).unwrap();
    let files = settings.tls.unwrap();
    assert_eq!(files.pair.cert, Path::new("/srv/member-1/a.pem"));
    assert_eq!(files.pair.key, Path::new("/k/a.key"));
    assert_eq!(files.ca.0, Path::new("/srv/member-1/ca.pem"));
    let http = errors(load(&format!("{text}http.bind = \"192.0.2.1:80\"")));
    assert_eq!((http.len(), http[0].key.as_str()), (1, "http.bind"));
    let plain = errors(load(&format!("name = \"a\"\n{beyond}")));
    assert_eq!(plain.len(), 2);
    for error in plain {
        assert!(error.problem.contains("tls.cert"), "{error}");
    }
    assert_eq!(load("name = \"a\"").unwrap().tls, None);
}

#[test]
fn half_given_tls_is_refused() {
    let missing = errors(load(
        "name = \"a\"\ntls.pki = \"files\"\ntls.ca = \"ca.pem\"",
    ));
    let keys: Vec<&str> = missing.iter().map(|error| error.key.as_str()).collect();
    assert_eq!(keys, ["tls.cert", "tls.key"]);
    assert!(
        missing[0].problem.contains("quorate cert issue"),
        "{missing:?}"
    );
    for (pki, part) in [("cluster", "not there yet"), ("vault", "\"files\"")] {
        let refused = errors(load(&format!("name = \"a\"\ntls.pki = \"{pki}\"")));
        let pki_error = refused.iter().find(|error| error.key == "tls.pki").unwrap();
        assert!(pki_error.problem.contains(part), "{refused:?}");
    }
}

#[test]
fn unknown_listener_in_insecure_is_refused() {
    let errors = errors(load("name = \"a\"\ninsecure = [\"htpp\"]"));
    assert_eq!(errors[0].key, "insecure");
    assert!(errors[0].problem.contains("\"zmq\""), "{errors:?}");
}

#[test]
fn connector_rules_are_strict_by_default() {
    let rules = load("name = \"a\"").unwrap().connectors;
    assert_eq!(
        rules.mq_libraries,
        ["libmqic_r.so", "libmqm_r.so", "/opt/mqm/**"]
    );
    assert_eq!(rules.mq_key_repositories, Path::new("/etc/quorate/mq"));
    assert_eq!(rules.zmq_ipc_dir, Path::new("/srv/member-1/run/zmq"));
    assert!(rules.zmq_bind.is_empty());

    let text = "name = \"a\"\nadmin.allowed_hosts = [\"console.example.com\"]\n\
        ibm_mq.libraries = [\"/mq/libmqic_r.so\"]\nibm_mq.key_repositories = \"keys\"\n\
        zmq.ipc_dir = \"../run/zmq\"\nzmq.bind = [\"eth0\"]";
    let settings = load(text).unwrap();
    assert_eq!(settings.admin_allowed_hosts, ["console.example.com"]);
    let rules = settings.connectors;
    assert_eq!(rules.mq_libraries, ["/mq/libmqic_r.so"]);
    assert_eq!(rules.mq_key_repositories, Path::new("/srv/member-1/keys"));
    assert_eq!(rules.zmq_ipc_dir, Path::new("/srv/run/zmq"));
    assert_eq!(rules.zmq_bind, ["eth0"]);
    // With commas it is the same.
    let text = "name = \"a\"\nadmin.allowed_hosts = \"a.example, b.example\"\n\
        ibm_mq.libraries = \"libmqic_r.so,/mq/**\"\nzmq.bind = \"\"";
    let settings = load(text).unwrap();
    assert_eq!(settings.admin_allowed_hosts, ["a.example", "b.example"]);
    let rules = settings.connectors;
    assert_eq!(rules.mq_libraries, ["libmqic_r.so", "/mq/**"]);
    assert!(rules.zmq_bind.is_empty());
    for (key, value) in [
        ("admin.allowed_hosts", "[\"http://a\"]"),
        ("admin.allowed_hosts", "\"a, http://b\""),
        ("admin.allowed_hosts", "5"),
        ("ibm_mq.libraries", "[\"a/b\"]"),
        ("ibm_mq.libraries", "[\"/opt/../etc/**\"]"),
        ("zmq.bind", "[\"tcp://a\"]"),
        ("zmq.bind", "[1]"),
    ] {
        let errors = errors(load(&format!("name = \"a\"\n{key} = {value}")));
        assert_eq!(errors[0].key, key, "{value}");
    }
}

#[test]
fn hardening_is_on_unless_settings_say_otherwise() {
    let hardening = load("name = \"a\"").unwrap().hardening;
    assert_eq!(hardening.sandbox, quorate_ipc::SandboxMode::BestEffort);
    assert_eq!(hardening.connector_environment, ["LD_LIBRARY_PATH"]);
    assert!(!hardening.core_dumps && !hardening.allow_root);
    assert_eq!(hardening.loopback, LoopbackUsers::Everyone);
    let text = "name = \"a\"\n[security]\nsandbox = \"required\"\ncore_dumps = true\n\
                loopback = \"same_user\"\n[connectors]\nenvironment = [\"ODBCINI\", \"LD_LIBRARY_PATH\"]";
    let hardening = load_with(text, &[("QUORATE_SECURITY_ALLOW_ROOT", "true")], &[]);
    let hardening = hardening.unwrap().hardening;
    assert_eq!(hardening.sandbox, quorate_ipc::SandboxMode::Required);
    assert_eq!(
        hardening.connector_environment,
        ["ODBCINI", "LD_LIBRARY_PATH"]
    );
    assert!(hardening.core_dumps && hardening.allow_root);
    assert_eq!(hardening.loopback, LoopbackUsers::SameUser);
    for (line, told) in [
        ("security.sandbox = \"on\"", "best-effort"),
        ("security.loopback = true", "same_user"),
        ("security.core_dumps = \"yes\"", "true or false"),
        ("connectors.environment = [\"QUORATE_ADMIN\"]", "QUORATE_*"),
        ("connectors.environment = [\"A=B\"]", "LD_LIBRARY_PATH"),
    ] {
        let bad = errors(load(&format!("name = \"a\"\n{line}")));
        assert!(bad[0].problem.contains(told), "{line}: {bad:?}");
    }
}

#[test]
fn security_is_off_until_it_is_asked_for() {
    let settings = load("name = \"a\"").unwrap();
    assert_eq!(settings.security.mode, SecurityMode::Local);
    assert_eq!(settings.security.local_socket, None);
    let trusted = "name = \"a\"\ninsecure = [\"admin\", \"peer\"]\n[security]\nmode = \"on\"";
    let settings = load(trusted).unwrap();
    assert_eq!(settings.security.mode, SecurityMode::On);
    let socket = Path::new("/srv/member-1/run/admin.sock");
    assert_eq!(settings.security.local_socket.as_deref(), Some(socket));
    let audit = Path::new("/srv/member-1/audit/audit.jsonl");
    assert_eq!(settings.security.audit_file.as_deref(), Some(audit));
    let closed = load(&format!("{trusted}\nlocal_admin = false")).unwrap();
    assert_eq!(closed.security.local_socket, None);
}

#[test]
fn tokens_over_plain_ports_need_word() {
    for insecure in [
        "",
        "insecure = [\"admin\"]\n",
        "insecure = [\"http\", \"peer\"]\n",
    ] {
        let text = format!("name = \"a\"\n{insecure}security.mode = \"on\"");
        let wrong = errors(load(&text));
        assert_eq!(wrong[0].key, "security.mode");
        assert!(
            wrong[0]
                .problem
                .contains("insecure = [\"admin\", \"peer\"]"),
            "{wrong:?}"
        );
    }
    for (text, key) in [
        ("security.mode = \"off\"", "security.mode"),
        ("security.local_admin = 1", "security.local_admin"),
        ("security.local_admn = true", "security.local_admn"),
    ] {
        assert_eq!(errors(load(&format!("name = \"a\"\n{text}")))[0].key, key);
    }
}
