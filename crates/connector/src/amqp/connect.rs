//! Connecting to the broker, and errors of that.

use std::{
    io,
    sync::{Arc, OnceLock},
    time::Duration,
};

use lapin::{
    AsyncTcpStream, Connection, ConnectionProperties, Error, ErrorKind,
    protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError},
    uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo},
};
use quorate_resources::AmqpConnection;
use tokio::time::timeout;

use super::{
    super::{broker_link::ConnectorError, dial::dial},
    frame_size::FRAME_MAX,
    tls,
    transport::{self, TcpTransport, TransportStream},
};

/// Longest wait for the handshake of TLS.
const SECURE: Duration = Duration::from_secs(4);

/// Connects and authenticates; returns the connection and RabbitMQ's name of it.
pub(super) async fn connect(
    to: &AmqpConnection,
    label: &str,
) -> Result<(Connection, String), ConnectorError> {
    let connector = if to.tls {
        Some(tls::connector(to.tls_ca.as_deref())?)
    } else {
        None
    };
    let name = Arc::new(OnceLock::new());
    let named = name.clone();
    let properties = ConnectionProperties::default().with_connection_name(label.into());
    let connecting = Connection::connector(
        uri(to),
        transport::runtime(),
        async move |uri, _| {
            let AMQPAuthority { host, port, .. } = &uri.authority;
            let stream = dial(host, *port).await?;
            // RabbitMQ's name of it, unless addresses are translated on the way.
            let name = format!("{} -> {}", stream.local_addr()?, stream.peer_addr()?);
            let _ = named.set(name);
            let Some(connector) = &connector else {
                return Ok(AsyncTcpStream::Plain(TransportStream::new(TcpTransport(
                    stream,
                ))));
            };
            let late = || io::Error::new(io::ErrorKind::TimedOut, "no answer to the TLS handshake");
            let securing = connector.connect_async(host, TcpTransport(stream));
            let secured = timeout(SECURE, securing).await.map_err(|_| late())??;
            Ok(AsyncTcpStream::Plain(TransportStream::new(secured)))
        },
        properties,
    );
    let connection = connecting.await.map_err(|error| explain(to, &error))?;
    Ok((connection, name.get().cloned().unwrap_or_default()))
}

fn uri(to: &AmqpConnection) -> AMQPUri {
    AMQPUri {
        // TLS is added once the connection is there.
        scheme: AMQPScheme::AMQP,
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo {
                username: to.username.clone(),
                password: to.password.clone().unwrap_or_default(),
            },
            host: to.host.clone(),
            port: to.port,
        },
        vhost: to.vhost.clone(),
        query: AMQPQueryString {
            heartbeat: Some(to.heartbeat_s),
            frame_max: Some(FRAME_MAX),
            ..AMQPQueryString::default()
        },
    }
}

/// Returns why connecting failed, and what would be right.
fn explain(to: &AmqpConnection, error: &Error) -> ConnectorError {
    let AmqpConnection {
        host,
        port,
        vhost,
        username,
        ..
    } = to;
    let no_broker = if to.tls {
        "is it a RabbitMQ?"
    } else {
        "is it a RabbitMQ, and is it not its port for TLS, which wants `tls: true`?"
    };
    ConnectorError::new(match error.kind() {
        ErrorKind::ProtocolError(refused) => match refused.kind() {
            AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => format!(
                "the broker {host}:{port} refused the user {username:?}: correct username or password in the amqp_connection ({})",
                refused.get_message()
            ),
            AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => format!(
                "the broker {host}:{port} did not let the user {username:?} into the vhost {vhost:?}: it must exist and the user must have permissions in it ({})",
                refused.get_message()
            ),
            _ => format!("the broker {host}:{port} refused the connection: {error}"),
        },
        ErrorKind::IOError(error) => tls::explain(error, host, *port, to.tls_ca.is_some())
            .filter(|_| to.tls)
            .unwrap_or_else(|| match error.kind() {
                io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => format!(
                    "the broker {host}:{port} ended the connection before it spoke AMQP: {no_broker}"
                ),
                _ => format!(
                    "can't reach the broker {host}:{port}: {error}; is it running, and are host and port right?"
                ),
            }),
        ErrorKind::ParsingError(_) | ErrorKind::InvalidProtocolVersion(_) => {
            format!("what answers at {host}:{port} does not speak AMQP 0-9-1: {no_broker}")
        }
        _ => format!("can't connect to the broker {host}:{port}: {error}"),
    })
}
