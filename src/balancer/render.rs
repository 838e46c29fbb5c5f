//! HAProxy's configuration, from the settings and the servers. Pure.

#[cfg(test)]
mod tests;

use std::time::Duration;

use super::{BalancerSettings, StatsPage, backend_servers::BackendServer, members_tls::CheckTls};

/// The backend that holds the members.
pub(super) const BACKEND: &str = "members";
/// The runtime socket, in the balancer's folder, which is HAProxy's working directory.
pub(super) const SOCKET: &str = "haproxy.sock";

/// The time that a member's answer needs at most to arrive, beyond the member's own limit.
const ON_THE_WAY: Duration = Duration::from_secs(5);

/// Renders the whole file. The same input gives the same text. `longest_wait`: the longest time for
/// which a member may send nothing, as the cluster reports it.
pub(super) fn render(
    settings: &BalancerSettings,
    longest_wait: Duration,
    servers: &[BackendServer],
) -> String {
    let mut out = String::from(
        "# Written by `quorate balancer` and replaced with every change of the cluster's\n\
         # members. Change its settings instead.\n\n",
    );
    let patience = match longest_wait {
        Duration::ZERO => settings.server_timeout,
        longest_wait => settings.server_timeout.max(longest_wait + ON_THE_WAY),
    };
    out += &global(settings, patience);
    out += &defaults(settings, patience);
    out += &frontend(settings);
    out += &backend(settings, servers);
    out
}

fn global(settings: &BalancerSettings, patience: Duration) -> String {
    format!(
        "global\n    \
             maxconn {maxconn}\n    \
             # A second HAProxy on the same address is an error and gets no share.\n    \
             noreuseport\n    \
             hard-stop-after {hard_stop}ms\n    \
             stats socket unix@{SOCKET} mode 600 level admin expose-fd listeners\n    \
             stats timeout 30s\n    \
             # Room for any head that a member takes, so that it is the member that refuses.\n    \
             tune.bufsize 81920\n    \
             tune.maxrewrite 8192\n    \
             tune.http.maxhdr 4096\n    \
             # Only what went wrong: the rest is in the statistics.\n    \
             log stderr format raw daemon notice\n\n",
        maxconn = settings.maxconn,
        hard_stop = patience.as_millis(),
    )
}

fn defaults(settings: &BalancerSettings, patience: Duration) -> String {
    format!(
        "defaults\n    \
             mode http\n    \
             log global\n    \
             option httplog\n    \
             option log-separate-errors\n    \
             option dontlognull\n    \
             timeout http-request 10s\n    \
             timeout http-keep-alive {client}ms\n    \
             timeout client {client}ms\n    \
             timeout queue 5s\n    \
             timeout connect {connect}ms\n    \
             timeout server {server}ms\n    \
             timeout tunnel 1h\n    \
             timeout check {check}ms\n\n",
        client = settings.client_timeout.as_millis(),
        connect = settings.connect_timeout.as_millis(),
        server = patience.as_millis(),
        check = settings.check_timeout().as_millis(),
    )
}

fn frontend(settings: &BalancerSettings) -> String {
    let mut out = format!(
        "frontend http\n    \
             bind {bind}{tls}\n    \
             monitor-uri /zato-lb-alive\n    \
             # What a member can't read it refuses in the form that clients know.\n    \
             option accept-invalid-http-request\n    \
             option forwardfor\n",
        bind = settings.bind,
        tls = front_tls(settings),
    );
    if settings.stats != StatsPage::Off {
        out += "    stats enable\n    stats uri /zato-lb-stats\n    stats refresh 5s\n    stats hide-version\n";
    }
    if settings.stats == StatsPage::ThisHost {
        out += "    stats http-request deny unless { src 127.0.0.0/8 ::1 }\n";
    }
    // `K` and 39 digits that make a number below 2^128, as the members' own.
    out += "    http-request set-var-fmt(txn.cid) K0";
    for _ in 0..4 {
        out += "%[rand(900000000),add(100000000)]";
    }
    out += "%[rand(90),add(10)]\n";
    out += &forwarded(settings);
    for (status, result, details, condition) in [
        (
            503,
            "ZATO_ERROR",
            NO_MEMBER,
            format!(" {{ nbsrv({BACKEND}) eq 0 }}"),
        ),
        (200, "ZATO_OK", "", String::new()),
    ] {
        out += &format!(
            "    http-request return status {status} {} if {{ path /zato-lb-ready }}{condition}\n",
            envelope(status, result, details)
        );
    }
    for (status, details) in [
        (400, "The request can't be read as HTTP/1.1"),
        (403, "The request is not allowed"),
        (408, "The request did not arrive in time"),
        (413, "The request is too large"),
        (500, "The balancer failed"),
        (
            502,
            "The member that was given the request broke off; the request may have been handled",
        ),
        (503, NO_MEMBER),
        (
            504,
            "The member that was given the request did not answer in time; the request may have been handled",
        ),
    ] {
        out += &format!(
            "    http-error status {status} {}\n",
            envelope(status, "ZATO_ERROR", details)
        );
    }
    out += &format!("    default_backend {BACKEND}\n\n");
    out
}

/// Renders what makes the front speak TLS. The file's name has letters, digits and hyphens alone.
fn front_tls(settings: &BalancerSettings) -> String {
    let pem = settings.front_pem.as_ref();
    pem.map_or_else(String::new, |pem| {
        format!(" ssl crt {pem} alpn h2,http/1.1 ssl-min-ver TLSv1.2")
    })
}

const NO_MEMBER: &str = "No member is ready to handle the request";

/// Renders an answer of HAProxy's own, in the form that clients know.
fn envelope(status: u16, result: &str, details: &str) -> String {
    let retry_after = match status {
        503 => " hdr Retry-After 1",
        _ => "",
    };
    format!(
        "content-type application/json lf-string \
         \"{{\\\"zato_env\\\": {{\\\"result\\\": \\\"{result}\\\", \\\"cid\\\": \\\"%[var(txn.cid)]\\\", \
         \\\"details\\\": \\\"{details}\\\"}}}}\" hdr X-Zato-CID %[var(txn.cid)]{retry_after}"
    )
}

/// Renders the headers that describe the client: a client's own claims count only where it is a
/// trusted proxy.
fn forwarded(settings: &BalancerSettings) -> String {
    let mut out = String::new();
    let trusted = settings.trusted_proxies.join(" ");
    let unless = if trusted.is_empty() {
        String::new()
    } else {
        format!(" unless {{ src {trusted} }}")
    };
    for header in [
        "x-forwarded- -m beg",
        "forwarded",
        "x-real-ip",
        "x-ssl- -m beg",
        "client-cert -m beg",
    ] {
        out += &format!("    http-request del-header {header}{unless}\n");
    }
    // Nobody in front of a member has these to say.
    out += "    http-request del-header quorate- -m beg\n";
    let scheme = match settings.front_pem {
        Some(_) => "https",
        None => "http",
    };
    for (name, value) in [
        ("X-Forwarded-Host", "%[req.fhdr(Host)]"),
        ("X-Forwarded-Proto", scheme),
    ] {
        out += &format!(
            "    http-request set-header {name} {value} unless {{ req.hdr({name}) -m found }}\n"
        );
    }
    out
}

fn backend(settings: &BalancerSettings, servers: &[BackendServer]) -> String {
    let mut out = format!(
        "backend {BACKEND}\n    \
             balance roundrobin\n    \
             option httpchk\n    \
             http-check send meth GET uri /health/ready ver HTTP/1.1 hdr Host quorate hdr Connection close\n    \
             http-check expect status 200\n    \
             # A host that is gone without a word is noticed within 5 s by those who wait for it.\n    \
             option srvtcpka\n    \
             srvtcpka-idle 2s\n    \
             srvtcpka-intvl 1s\n    \
             srvtcpka-cnt 3\n    \
             # A failed try goes to another member at once. A request that may have reached a\n    \
             # member is tried again only if doing it twice is as good as doing it once.\n    \
             retries 3\n    \
             option redispatch 1\n    \
             retry-on conn-failure empty-response junk-response\n    \
             http-request disable-l7-retry unless {{ method GET HEAD PUT DELETE OPTIONS }}\n"
    );
    for server in servers {
        out += &format!(
            "    server {} {} {}\n",
            server.name,
            server.http,
            keywords(settings, server)
        );
    }
    out
}

/// Renders the options after a server's address: in the file and in `add server` alike, which takes
/// no defaults from the file.
pub(super) fn keywords(settings: &BalancerSettings, server: &BackendServer) -> String {
    let check = settings.check.as_millis();
    // A member is known by its name in the cluster, wherever it is.
    let tls = settings.check_tls.as_ref().map(|tls| {
        let CheckTls { ca, server_name } = tls;
        format!(
            "check-ssl verify required ca-file {ca} check-sni {server_name} verifyhost {server_name} ",
            ca = quoted(&ca.to_string_lossy()),
        )
    });
    format!(
        "check {tls}addr {addr} port {port} inter {check}ms fastinter {fast}ms downinter {check}ms rise 1 fall 2 \
         observe layer4 error-limit 3 on-error mark-down pool-purge-delay 1s",
        tls = tls.unwrap_or_default(),
        addr = server.admin.ip(),
        port = server.admin.port(),
        fast = (check / 2).max(1),
    )
}

/// Returns a word of HAProxy's file. Within single quotes all is as it is, but for these.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@".contains(c);
    if text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}
