//! `amqp_connection`

use url::Url;

use crate::{
    declaration::{choices, declare},
    field_reader::FieldReader,
    field_rules::{
        flag, number, one_of, optional_in_part, optional_not_quoted, required, secret, text_or,
    },
    text_rules,
};

choices! {
    /// What keeps a second consumer off a queue.
    pub enum BrokerFence {
        /// The broker: an exclusive consumer. A takeover has nothing to wait for, unless the
        /// old connection hangs: then for the broker to give it up, or for `management_url`.
        Exclusive = "exclusive",
        /// The lease alone: a takeover waits until no earlier lease can run, and then consumes
        /// at once. For queues that others consume too.
        Lease = "lease",
    }
}

declare! {
    /// `amqp_connection`
    pub struct AmqpConnection {
        /// The name of the connection.
        name: String = required(text_rules::name);
        /// The broker's host.
        host: String = required(text_rules::host);
        /// The broker's port.
        port: u16 = number(5672, 1..=65_535);
        /// The virtual host.
        vhost: String = text_or("/", text_rules::amqp_text);
        /// The user.
        username: String = required(text_rules::amqp_text);
        /// Never shown again; left out of a PUT or apply it means unchanged.
        password: Option<String> = secret(text_rules::password);
        /// Seconds between heartbeats of the broker's connection.
        heartbeat_s: u16 = number(2, 1..=3600);
        /// What keeps a second consumer off its queues.
        fence: BrokerFence = one_of();
        /// Where RabbitMQ's management API answers, for example `http://rabbit:15672`. With it
        /// a takeover closes the connection of a connector server that hangs or has vanished.
        /// User name and password may stand in it, and are not shown again; otherwise they are
        /// `username` and `password`. The user needs the tag `management`, to close the
        /// connections of another user `administrator`.
        management_url: Option<String> =
            optional_in_part(text_rules::management_url, without_credentials);
        /// Whether the broker is spoken to over TLS.
        tls: bool = flag(false);
        /// The certificates, as PEM text, of the authorities that may vouch for the broker,
        /// instead of those that the system trusts.
        tls_ca: Option<String> = optional_not_quoted(text_rules::certificates),
            then authorities_need_tls(tls, tls_ca);
    }
}

fn authorities_need_tls(fields: &mut FieldReader<'_>, tls: &bool, tls_ca: &Option<String>) {
    if tls_ca.is_some() && !tls {
        let problem = "is for connections with `tls: true`: set it, or leave tls_ca out";
        fields.refuse("tls_ca", "", problem);
    }
}

impl AmqpConnection {
    /// Returns `management_url` without user name and password, which may be shown.
    pub fn management_url_shown(&self) -> Option<String> {
        self.management_url.as_deref().map(without_credentials)
    }

    /// Returns the `management_url` of `before` with its credentials, if this one is the same
    /// without them: a URL that was shown without them and is put again loses none. The result
    /// decides what the state holds, so it comes from the text alone and from no crate, whose
    /// next version may read a URL otherwise.
    pub fn management_url_kept(&self, before: &Self) -> Option<String> {
        let (here, bare) = credentials_and_rest(self.management_url.as_deref()?)?;
        let (there, rest) = credentials_and_rest(before.management_url.as_deref()?)?;
        let lost = here.is_empty() && !there.is_empty() && bare == rest;
        before.management_url.clone().filter(|_| lost)
    }

    /// Returns true if `management_url` has no credentials and is otherwise that of `before`, whose
    /// own credentials are sealed.
    pub fn has_bare_management_url_of(&self, before: &Self) -> bool {
        let parts = |it: &Self| {
            let (credentials, rest) = credentials_and_rest(it.management_url.as_deref()?)?;
            credentials.is_empty().then_some(rest)
        };
        parts(self).is_some_and(|rest| Some(rest) == parts(before))
    }
}

/// Splits a URL into user name and password, and the rest in the form in which it is shown:
/// in small letters up to the path, without the port that goes without saying.
fn credentials_and_rest(url: &str) -> Option<(&str, String)> {
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (credentials, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let scheme = scheme.to_ascii_lowercase();
    let implied = if scheme == "https" { ":443" } else { ":80" };
    let host = host.strip_suffix(implied).unwrap_or(host);
    let host = host.to_ascii_lowercase();
    let path = path.strip_suffix('/').unwrap_or(path);
    Some((credentials, format!("{scheme}://{host}{path}")))
}

fn without_credentials(url: &str) -> String {
    match Url::parse(url).ok().filter(has_credentials) {
        Some(url) => bare(url).into(),
        None => url.to_owned(),
    }
}

fn has_credentials(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

fn bare(mut url: Url) -> Url {
    // They can't fail: the URL has a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url
}
