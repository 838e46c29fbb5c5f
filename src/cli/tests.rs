use clap::{CommandFactory, error::ErrorKind};

use super::*;

fn parse(line: &str) -> Result<CliArgs, clap::Error> {
    CliArgs::try_parse_from(std::iter::once("quorate").chain(line.split_whitespace()))
}

#[test]
fn the_definition_is_sound() {
    CliArgs::command().debug_assert();
}

#[test]
fn documented_command_lines_are_accepted() {
    for line in [
        "quickstart",
        "quickstart --dir /tmp/q --members 3 --no-balancer",
        "quickstart --port-offset 100",
        "quickstart --secure",
        "server --config a.toml",
        "server --config a.toml --bootstrap",
        "server --config a.toml --join http://127.0.0.1:17110,http://127.0.0.1:17111",
        "server --config a.toml --insecure --set log.level=debug --set failover_ms=1000",
        "balancer --config b.toml",
        "leader",
        "leader --output json",
        "members --admin http://127.0.0.1:1",
        "status --output table",
        "takeovers",
        "takeovers --output json",
        "apply -f a.yaml",
        "apply -f - --dry-run",
        "get http_channel",
        "get http_channel orders",
        "delete amqp_channel orders --if-match 7",
        "export",
        "kv get a/b",
        "kv put a b",
        "kv put a -f -",
        "kv put a -",
        "kv put a b --if-absent",
        "kv delete a --if-match 4",
        "kv list",
        "kv list a/ --limit 10 --after a/b",
        "kv list --prefix a/",
        "kv watch",
        "kv watch a/",
        "kv watch --prefix a/ --from 7 --output json",
        "connector list",
        "secret set rabbit --file password --description broker --allow amqp://h:5672",
        "secret list",
        "secret delete rabbit",
        "secret status --output json",
        "secret rotate",
        "secret rewrap member-2",
        "secret recovery-key create",
        "secret recover --file recovery.key",
        "cert create-ca --out ca",
        "cert create-ca --out ca --domain shop-1",
        "cert issue --ca ca --name member-1 --host a.example --host 10.0.0.1 --out tls",
        "cert issue --ca ca --client ann --days 30 --out tls",
        "cert issue --ca ca --balancer front --out tls",
        "status --admin https://h:1 --ca ca.pem --cert ann.pem --key ann.key",
        "cluster get --output json",
        "cluster set failover_ms 2000",
        "transfer-leadership",
        "transfer-leadership --to member-2",
        "admin create --name ann --config quorate.toml",
        "admin create --name bob --role reader --ttl never --socket run/admin.sock",
        "admin list --token-file ann.token",
        "admin revoke bob",
        "admin revoke-all --config quorate.toml",
        "token create --identity ann --ttl 12h",
        "token list --identity ann",
        "token revoke k3vw8sda",
        "whoami --admin http://127.0.0.1:1 --token-file ann.token",
        "audit --from 7 --actor ann --output json",
        "audit verify audit/audit.jsonl",
        "server --config a.toml --join http://127.0.0.1:17110 --token-file ann.token",
    ] {
        if let Err(error) = parse(line) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn bad_arguments_are_usage_errors_with_a_remedy() {
    for (line, right) in [
        ("nonsense", "unrecognized subcommand"),
        ("server", "--config"),
        (
            "server --config a --bootstrap --join http://h:1",
            "cannot be used with",
        ),
        ("server --config a --join ftp://h:1", "http or https"),
        ("cert issue --ca ca --out tls", "--name"),
        ("cert issue --ca ca --client a --host h --out tls", "--name"),
        (
            "cert issue --ca ca --name a --client b --out tls",
            "cannot be used with",
        ),
        ("leader --cert a.pem", "--key"),
        ("server --config a --set failover_ms", "KEY=VALUE"),
        ("quickstart --members 0", "1..=9"),
        ("quickstart --members three", "invalid digit"),
        ("quickstart --port-offset 60000", "0..=40000"),
        ("leader --output xml", "table, json"),
        ("leader --admin http://h:1/v1", "scheme, host and port only"),
        ("leader --timeout 0", "1..=600"),
        ("get queue", "the kinds are secret, basic_auth"),
        ("delete service", "<NAME>"),
        ("apply", "--file"),
        ("kv put a", "VALUE"),
        ("kv list --limit 0", "above 0"),
        ("kv put a b -f c", "cannot be used with"),
        ("kv put a b --if-absent --if-match 3", "cannot be used with"),
        ("kv list a --prefix a", "cannot be used with"),
        ("kv watch a --prefix a", "cannot be used with"),
        ("kv watch --from abc", "invalid digit"),
        ("connector pause amqp_channel", "<NAME>"),
        (
            "connector pause queue a",
            "the kinds are secret, basic_auth",
        ),
        ("connector send amqp_outgoing a b --header x", "NAME=VALUE"),
        ("admin create", "--name"),
        ("token create --identity a --ttl soon", "--ttl"),
        (
            "token create --identity a --token qt1_a",
            "unexpected argument",
        ),
        ("member add", "unrecognized subcommand"),
        ("snapshot save", "unrecognized subcommand"),
        ("apply -f a --prune", "unexpected argument"),
    ] {
        let error = parse(line).expect_err(line);
        assert!(error.use_stderr(), "{line}");
        assert!(error.to_string().contains(right), "{line}: {error}");
    }
}

#[test]
fn help_and_version_are_no_failures() {
    for (line, kind) in [
        ("--help", ErrorKind::DisplayHelp),
        ("--version", ErrorKind::DisplayVersion),
        ("kv --help", ErrorKind::DisplayHelp),
    ] {
        let error = parse(line).expect_err(line);
        assert_eq!(error.kind(), kind);
        assert!(!error.use_stderr());
    }
}
