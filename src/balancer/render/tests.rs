//! The file for three members, and what the settings change in it.

use std::{path::PathBuf, time::Duration};

use super::*;
use crate::balancer::members_tls::CheckTls;

fn settings() -> BalancerSettings {
    BalancerSettings {
        bind: "127.0.0.1:11223".parse().unwrap(),
        members: vec!["127.0.0.1:17110".to_owned()],
        members_tls: None,
        check_tls: None,
        haproxy: "haproxy".to_owned(),
        token_file: None,
        dir: PathBuf::from("/nowhere"),
        stats: StatsPage::ThisHost,
        tls: None,
        front_pem: None,
        poll: Duration::from_millis(500),
        check: Duration::from_millis(250),
        connect_timeout: Duration::from_secs(1),
        server_timeout: Duration::from_secs(60),
        client_timeout: Duration::from_secs(60),
        drain: Duration::from_secs(5),
        maxconn: 10_000,
        trusted_proxies: Vec::new(),
    }
}

fn server(n: u16) -> BackendServer {
    BackendServer {
        name: format!("member-{n}"),
        http: ([127, 0, 0, 1], 17009 + n).into(),
        admin: ([127, 0, 0, 1], 17109 + n).into(),
    }
}

/// The whole file for three members, as it was last looked at by a person. After a change
/// that is meant, write the new text there.
#[test]
fn three_members_give_the_golden_file() {
    let servers = [server(1), server(2), server(3)];
    let rendered = render(&settings(), Duration::ZERO, &servers);
    let golden = include_str!("golden.cfg");
    assert!(rendered == golden, "what was rendered is:\n{rendered}");
}

#[test]
fn without_stats_there_is_no_stats_page() {
    let rendered = |stats| {
        let settings = BalancerSettings {
            stats,
            ..settings()
        };
        let text = render(&settings, Duration::ZERO, &[]);
        let denied = text.contains("stats http-request deny unless { src 127.0.0.0/8 ::1 }");
        (text.contains("zato-lb-stats"), denied)
    };
    assert_eq!(rendered(StatsPage::Off), (false, false));
    assert_eq!(rendered(StatsPage::ThisHost), (true, true));
    assert_eq!(rendered(StatsPage::Everyone), (true, false));
}

#[test]
fn ipv6_address_is_written_as_haproxy_reads() {
    let six = BackendServer {
        name: "six".to_owned(),
        http: "[::1]:17010".parse().unwrap(),
        admin: "[::1]:17110".parse().unwrap(),
    };
    let text = render(&settings(), Duration::ZERO, &[six]);
    assert!(
        text.contains("server six [::1]:17010 check addr ::1 port 17110 "),
        "{text}"
    );
}

// Test 3 in part, for the balancer: a server is checked by its name in the cluster.
#[test]
fn members_with_tls_are_checked_by_their_name() {
    let tls = BalancerSettings {
        check_tls: Some(CheckTls {
            ca: PathBuf::from("/etc/q/my \"ca\".pem"),
            server_name: "member.shop.quorate.internal".to_owned(),
        }),
        ..settings()
    };
    let text = render(&tls, Duration::ZERO, &[server(1)]);
    let checked = "check check-ssl verify required ca-file '/etc/q/my \"ca\".pem' \
                   check-sni member.shop.quorate.internal verifyhost member.shop.quorate.internal \
                   addr 127.0.0.1 port 17110 ";
    assert!(text.contains(checked), "{text}");
}

// guarantee: HTTP-7
#[test]
fn the_longest_service_is_waited_for() {
    let timeout = |longest_wait| {
        let text = render(&settings(), longest_wait, &[]);
        let of = |name: &str| {
            let line = text.lines().find(|line| line.trim().starts_with(name));
            line.unwrap().trim().to_owned()
        };
        (of("timeout server"), of("hard-stop-after"))
    };
    let ms = Duration::from_millis;
    let short = (
        "timeout server 60000ms".to_owned(),
        "hard-stop-after 60000ms".to_owned(),
    );
    assert_eq!(timeout(Duration::ZERO), short);
    assert_eq!(timeout(ms(10_000)), short);
    let long = (
        "timeout server 605000ms".to_owned(),
        "hard-stop-after 605000ms".to_owned(),
    );
    assert_eq!(timeout(ms(600_000)), long);
}

#[test]
fn headers_of_trusted_proxies_are_kept() {
    let trusting = BalancerSettings {
        trusted_proxies: vec!["10.0.0.0/8".to_owned(), "::1".to_owned()],
        ..settings()
    };
    let text = render(&trusting, Duration::ZERO, &[]);
    let line = "http-request del-header forwarded unless { src 10.0.0.0/8 ::1 }";
    assert!(text.contains(line), "{text}");
}

// Test 20, the front.
#[test]
fn front_with_certificate_speaks_tls() {
    let tls = BalancerSettings {
        front_pem: Some("front-0123456789abcdef.pem".to_owned()),
        ..settings()
    };
    let text = render(&tls, Duration::ZERO, &[]);
    for line in [
        "bind 127.0.0.1:11223 ssl crt front-0123456789abcdef.pem alpn h2,http/1.1 ssl-min-ver TLSv1.2\n",
        "http-request set-header X-Forwarded-Proto https unless",
        "http-request del-header quorate- -m beg\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}
