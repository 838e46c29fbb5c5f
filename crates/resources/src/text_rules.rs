//! Rules of the texts in resources. Each error says what would be right.

use std::net::IpAddr;

use url::Url;

/// Text that breaks a rule of its field.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidText {
    /// It has not the form that this sentence names.
    #[error("{0}")]
    Form(&'static str),
    /// It is no URL.
    #[error("{wants}: {problem}")]
    Url {
        /// The form that it should have.
        wants: &'static str,
        /// The reason.
        problem: url::ParseError,
    },
}

type RuleCheck = Result<(), InvalidText>;

/// Refuses a text that has not the form that the sentence names.
pub(super) fn when(holds: bool, wants: &'static str) -> RuleCheck {
    holds.then_some(()).ok_or(InvalidText::Form(wants))
}

fn parsed_url(text: &str, wants: &'static str) -> Result<Url, InvalidText> {
    let url = Url::parse(text).map_err(|problem| InvalidText::Url { wants, problem })?;
    when(
        matches!(url.scheme(), "http" | "https"),
        "must begin with http:// or https://",
    )?;
    when(url.host_str().is_some_and(|host| !host.is_empty()), wants)?;
    Ok(url)
}

/// Names of resources: they stand in URLs, log lines and metrics as they are.
pub fn name(text: &str) -> RuleCheck {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    when(
        (1..=128).contains(&text.len())
            && text.chars().all(allowed)
            // clients take these out of a URL's path
            && !matches!(text, "." | ".."),
        "must be 1 to 128 letters, digits, `_`, `.` or `-`",
    )
}

/// URLs of upstreams.
pub(super) fn url(text: &str) -> RuleCheck {
    when(
        text.len() <= 2048 && text.trim() == text,
        "must be a URL such as http://127.0.0.1:8080/orders, of at most 2048 characters without spaces around it",
    )?;
    let url = parsed_url(text, "must be a URL such as http://127.0.0.1:8080/orders")?;
    when(
        url.username().is_empty() && url.password().is_none(),
        "must not carry a user name or password: they would be shown",
    )?;
    when(
        url.fragment().is_none(),
        "must not have a fragment (the part after `#`)",
    )
}

/// Where a broker's management API answers. It is never quoted: it may carry a password.
pub(super) fn management_url(text: &str) -> RuleCheck {
    when(
        text.len() <= 2048 && text.trim() == text,
        "must have at most 2048 characters, without spaces around it",
    )?;
    let url = parsed_url(
        text,
        "must be a URL such as http://rabbit.example.com:15672",
    )?;
    when(
        url.query().is_none() && url.fragment().is_none(),
        "must end with the host, the port or a path: without `/api`, and without `?` or `#`",
    )?;
    when(
        !url.path().trim_end_matches('/').ends_with("/api"),
        "must be the root of the management face, without `/api`",
    )
}

/// HTTP methods.
pub(super) fn method(text: &str) -> RuleCheck {
    when(
        (1..=32).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_uppercase())
            && text
                .chars()
                .all(|c| c.is_ascii_uppercase() || c == '-' || c == '_')
            && text != "CONNECT",
        "must be an HTTP method in capitals, such as GET or POST (and not CONNECT)",
    )
}

/// Names of request headers that carry a key.
pub(super) fn header_name(text: &str) -> RuleCheck {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    when(
        (1..=128).contains(&text.len()) && text.chars().all(token),
        "must be a header's name such as X-API-Key: letters, digits and `-`",
    )?;
    let taken = [
        "connection",
        "content-length",
        "host",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    when(
        !taken.iter().any(|name| text.eq_ignore_ascii_case(name)),
        "must not be a header that HTTP itself needs",
    )
}

/// What a header can carry.
pub(super) fn header_value(text: &str) -> RuleCheck {
    when(
        (1..=1024).contains(&text.len())
            && text.trim() == text
            && text.chars().all(|c| c == ' ' || c.is_ascii_graphic()),
        "must be 1 to 1024 visible ASCII characters, without spaces around them",
    )
}

/// User names as basic authentication can carry them.
pub(super) fn basic_auth_username(text: &str) -> RuleCheck {
    when(
        (1..=255).contains(&text.len()) && !text.chars().any(|c| c == ':' || c.is_control()),
        "must be 1 to 255 bytes without a colon or control characters",
    )
}

/// Passwords.
pub(super) fn password(text: &str) -> RuleCheck {
    when(
        (1..=1024).contains(&text.len()) && !text.chars().any(char::is_control),
        "must be 1 to 1024 bytes without control characters; leave it out to keep the one that is set",
    )
}

/// Issuers and audiences of tokens.
pub(super) fn claim_text(text: &str) -> RuleCheck {
    when(
        (1..=1024).contains(&text.len()) && !text.chars().any(char::is_control),
        "must be 1 to 1024 bytes without control characters, as the tokens have it",
    )
}

/// Names of claims that services get in a header.
pub(super) fn claim_name(text: &str) -> RuleCheck {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    when(
        (1..=64).contains(&text.len()) && text.chars().all(allowed),
        "must be the name of a claim of 1 to 64 letters, digits, `_` or `-`",
    )
}

/// Where an issuer publishes its keys. What comes from there decides who is let in, so that it must
/// come by TLS, or from this host.
pub(super) fn jwks_url(text: &str) -> RuleCheck {
    url(text)?;
    let wants =
        "must begin with https://: whoever could change the keys on their way could let anyone in";
    let url = parsed_url(text, wants)?;
    when(url.scheme() == "https" || is_here(&url), wants)
}

/// Returns true if a URL leads to this host.
pub(super) fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// Secrets by which upstreams know their callers, of any scheme.
pub(super) fn auth_secret(text: &str) -> RuleCheck {
    when(
        (1..=32_768).contains(&text.len()),
        "must be 1 to 32768 bytes; leave it out to keep the one that is set",
    )
}

/// Private keys in PEM, without a password.
pub(super) fn private_key(text: &str) -> RuleCheck {
    let is_key = |kind: &str| {
        text.contains(&format!("-----BEGIN {kind}-----"))
            && text.contains(&format!("-----END {kind}-----"))
    };
    when(
        ["PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"]
            .into_iter()
            .any(is_key),
        "must be the text of a PEM file with a private key, without a password",
    )
}

/// Keys of HS256: as long as the hash (RFC 7518, 3.2).
pub(super) fn shared_key(text: &str) -> RuleCheck {
    when(
        (32..=1024).contains(&text.len()) && !text.chars().any(char::is_control),
        "must be 32 to 1024 bytes without control characters; leave it out to keep the one that is set",
    )
}

/// Secrets of webhooks, which their senders make up.
pub(super) fn hmac_secret(text: &str) -> RuleCheck {
    when(
        (16..=1024).contains(&text.len()) && !text.chars().any(char::is_control),
        "must be 16 to 1024 bytes without control characters; leave it out to keep the one that is set",
    )
}

/// What stands before a signature: `sha256=`.
pub(super) fn signature_prefix(text: &str) -> RuleCheck {
    when(
        (1..=32).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic()),
        "must be 1 to 32 visible ASCII characters such as sha256=",
    )
}

/// Names in certificates: a DNS name or a URI, or `*.` and the end of a DNS name.
pub(super) fn certificate_name(text: &str) -> RuleCheck {
    let rest = text.strip_prefix("*.").unwrap_or(text);
    when(
        (1..=512).contains(&rest.len())
            && rest.chars().all(|c| c.is_ascii_graphic())
            && !rest.contains('*'),
        "must be a DNS name or a URI as it stands in the certificate, or `*.` and the end of a DNS name, such as *.partner.example",
    )
}

/// Values of secrets: passwords, keys, the text of a file with a key.
pub(super) fn secret_value(text: &str) -> RuleCheck {
    let is_text = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
    when(
        (1..=16 << 10).contains(&text.len()) && text.chars().all(is_text),
        "must be a text of 1 to 16384 bytes; leave it out to keep the one that is set",
    )
}

/// Descriptions for people.
pub(super) fn description(text: &str) -> RuleCheck {
    when(
        text.len() <= 1000 && !text.chars().any(char::is_control),
        "must have at most 1000 bytes, without control characters",
    )
}

/// Targets of secrets: scheme, host and port of a connection or an upstream.
pub(super) fn secret_target(text: &str) -> RuleCheck {
    const WANTS: &str = "must be amqp://HOST:PORT, amqps://HOST:PORT (a connection with `tls: true`), ibm-mq://HOST:PORT, or http://HOST:PORT or https://HOST:PORT of an upstream or a management face";
    let (scheme, rest) = text.split_once("://").unwrap_or_default();
    let (name, port) = rest.rsplit_once(':').unwrap_or_default();
    when(
        matches!(scheme, "amqp" | "amqps" | "ibm-mq" | "http" | "https")
            && host(name).is_ok()
            && port.parse::<u16>().is_ok_and(|port| port > 0),
        WANTS,
    )
}

/// Hosts: a name or an address, without scheme and port.
pub(super) fn host(text: &str) -> RuleCheck {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let dns_name =
        text.len() <= 253 && text.strip_suffix('.').unwrap_or(text).split('.').all(label);
    when(
        text.parse::<IpAddr>().is_ok() || dns_name,
        "must be a host's name or IP address alone, such as rabbit.example.com; the port goes into `port`",
    )
}

/// Names of queues, users and virtual hosts: AMQP's short strings.
pub(super) fn amqp_text(text: &str) -> RuleCheck {
    when(
        (1..=255).contains(&text.len()) && !text.chars().any(char::is_control),
        "must be 1 to 255 bytes without control characters",
    )
}

/// Short strings that may be empty: exchanges and routing keys.
pub(super) fn amqp_text_or_none(text: &str) -> RuleCheck {
    when(
        text.len() <= 255 && !text.chars().any(char::is_control),
        "must have at most 255 bytes, without control characters",
    )
}

/// Shorter than a short string: the rest of the tag follows.
pub(super) fn consumer_tag_prefix(text: &str) -> RuleCheck {
    when(
        (1..=100).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic()),
        "must be 1 to 100 visible ASCII characters without spaces",
    )
}

/// Certificates of authorities, and nothing else: what stands here is shown again.
pub(super) fn certificates(text: &str) -> RuleCheck {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    when(
        !text.contains("PRIVATE KEY-----"),
        "must hold certificates alone, and no private key",
    )?;
    let base64 = |body: &str| {
        let mut body = body.chars().filter(|c| !c.is_whitespace()).peekable();
        body.peek().is_some()
            && body.all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '='))
    };
    let whole = |block: &str| block.split_once(END).is_some_and(|(body, _)| base64(body));
    let mut blocks = text.split(BEGIN).skip(1).peekable();
    when(
        blocks.peek().is_some() && blocks.all(whole),
        "must be the text of a PEM file with certificates: lines between -----BEGIN CERTIFICATE----- and -----END CERTIFICATE-----",
    )
}
