//! `amqp_connection`

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::super::{
    HiddenSecret,
    field_reader::{FieldReader, ParseOutcome},
    text_rules,
};

/// What keeps a second consumer off a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BrokerFence {
    /// The broker: an exclusive consumer. A takeover has nothing to wait for, unless the
    /// old connection hangs: then for the broker to give it up, or for `management_url`.
    #[default]
    Exclusive,
    /// The lease alone: a takeover waits until no earlier lease can run, and then consumes
    /// at once. For queues that others consume too.
    Lease,
}

/// `amqp_connection`
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AmqpConnection {
    /// Its name.
    pub name: String,
    /// The broker's host.
    pub host: String,
    /// The broker's port.
    #[serde(default = "port")]
    pub port: u16,
    /// The virtual host.
    #[serde(default = "vhost")]
    pub vhost: String,
    /// The user.
    pub username: String,
    /// Never shown again; left out of a PUT or apply it means unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Seconds between heartbeats of the broker's connection.
    #[serde(default = "heartbeat_s")]
    pub heartbeat_s: u16,
    /// What keeps a second consumer off its queues.
    #[serde(default)]
    pub fence: BrokerFence,
    /// Where RabbitMQ's management API answers, for example `http://rabbit:15672`. With it
    /// a takeover closes the connection of a connector server that hangs or has vanished.
    /// User name and password may stand in it, and are not shown again; otherwise they are
    /// `username` and `password`. The user needs the tag `management`, to close the
    /// connections of another user `administrator`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub management_url: Option<String>,
    /// Whether the broker is spoken to over TLS.
    #[serde(default)]
    pub tls: bool,
    /// The certificates, as PEM text, of the authorities that may vouch for the broker,
    /// instead of those that the system trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_ca: Option<String>,
}

fn port() -> u16 {
    5672
}

fn vhost() -> String {
    "/".into()
}

fn heartbeat_s() -> u16 {
    2
}

impl AmqpConnection {
    pub(crate) fn read(spec: &Value) -> ParseOutcome<Self> {
        let mut fields = FieldReader::new(spec);
        let it = AmqpConnection {
            name: fields.required("name", text_rules::name),
            host: fields.required("host", text_rules::host),
            port: fields.number("port", port(), 1..=65_535),
            vhost: fields
                .text("vhost", text_rules::amqp_text)
                .unwrap_or_else(vhost),
            username: fields.required("username", text_rules::amqp_text),
            password: fields.secret("password", text_rules::password),
            heartbeat_s: fields.number("heartbeat_s", heartbeat_s(), 1..=3600),
            fence: fields
                .one_of(
                    "fence",
                    &[
                        ("exclusive", BrokerFence::Exclusive),
                        ("lease", BrokerFence::Lease),
                    ],
                )
                .unwrap_or_default(),
            management_url: fields.secret("management_url", text_rules::management_url),
            tls: fields.flag("tls", false),
            // never quoted: a key that was put there by mistake is not to be shown
            tls_ca: fields.secret("tls_ca", text_rules::certificates),
        };
        if it.tls_ca.is_some() && !it.tls {
            fields.refuse(
                "tls_ca",
                "",
                "is for connections with `tls: true`: set it, or leave tls_ca out",
            );
        }
        fields.finish(it)
    }

    /// `management_url` without user name and password: what may be shown.
    pub fn management_url_shown(&self) -> Option<String> {
        let text = self.management_url.as_ref()?;
        Some(match Url::parse(text).ok().filter(has_credentials) {
            Some(url) => bare(url).into(),
            None => text.clone(),
        })
    }

    /// The `management_url` of `before` with its credentials, if this one is the same
    /// without them: what was shown without them and is put again loses none. It decides what
    /// the state holds, so it is told by the text alone and by no crate, whose next version
    /// may read a URL otherwise.
    pub fn management_url_kept(&self, before: &Self) -> Option<String> {
        let (here, bare) = credentials_and_rest(self.management_url.as_deref()?)?;
        let (there, rest) = credentials_and_rest(before.management_url.as_deref()?)?;
        let lost = here.is_empty() && !there.is_empty() && bare == rest;
        before.management_url.clone().filter(|_| lost)
    }
}

/// User name and password of a URL, and what else is in it in the form in which it is shown:
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

fn has_credentials(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

fn bare(mut url: Url) -> Url {
    // They can't fail: the URL has a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url
}

impl fmt::Debug for AmqpConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpConnection")
            .field("name", &self.name)
            .field("host", &self.host)
            .field("port", &self.port)
            .field("vhost", &self.vhost)
            .field("username", &self.username)
            .field("password", &HiddenSecret::new(&self.password))
            .field("heartbeat_s", &self.heartbeat_s)
            .field("fence", &self.fence)
            .field("management_url", &self.management_url_shown())
            .field("tls", &self.tls)
            .field("tls_ca", &self.tls_ca)
            .finish()
    }
}
