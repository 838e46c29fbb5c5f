//! HTTP client that goes by the egress rules: for what the configuration says whom to ask.
//!
//! An address in the URL is judged before the request is made. A name is looked up twice, since it
//! may lead elsewhere a moment later: for a judgement with the port, and by the client for the
//! connection itself, where what lies in a denied network is left out.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use reqwest::{
    Client, RequestBuilder, Response,
    dns::{Addrs, Name, Resolve, Resolving},
};
use tokio::{net::lookup_host, time::timeout};

use crate::{
    egress::{EgressPolicy, EgressRefusal},
    http_client,
};

/// Longest wait for the addresses of a name.
const LOOK_UP: Duration = Duration::from_secs(2);

/// Reason for which there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum EgressClientError {
    /// The rules of this member refuse the address.
    #[error(transparent)]
    Refused(#[from] EgressRefusal),
    /// The name of the host has no addresses that could be checked.
    #[error("the addresses of {host} can't be looked up: {error}")]
    LookUp {
        /// The name.
        host: String,
        /// What was wrong.
        error: io::Error,
    },
    /// The other end gave none.
    #[error(transparent)]
    Failed(#[from] reqwest::Error),
}

/// HTTP client with egress rules. Cheap to clone.
#[derive(Clone)]
pub struct EgressClient {
    http: Client,
    egress: EgressPolicy,
}

impl EgressClient {
    /// Makes a client with a pool of its own.
    pub fn new(egress: EgressPolicy) -> reqwest::Result<EgressClient> {
        let http = http_client::builder()
            .pool_max_idle_per_host(2)
            .dns_resolver(EgressResolver(egress.clone()))
            .build()?;
        Ok(EgressClient { http, egress })
    }

    /// Returns the client that makes requests for [`EgressClient::send`].
    pub fn http(&self) -> &Client {
        &self.http
    }

    /// Sends a request that [`EgressClient::http`] has made, if the rules allow it.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, EgressClientError> {
        let request = request.build()?;
        let url = request.url();
        if let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) {
            self.check(host, port).await?;
        }
        Ok(self.http.execute(request).await?)
    }

    /// Checks each address that a host has now.
    async fn check(&self, host: &str, port: u16) -> Result<(), EgressClientError> {
        if let Ok(literal) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
            let to = SocketAddr::new(literal, port);
            return Ok(self.egress.check(to, None).await?);
        }
        let looked_up = timeout(LOOK_UP, lookup_host((host, port))).await;
        let addresses = looked_up.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let addresses = addresses.map_err(|error| EgressClientError::LookUp {
            host: host.to_owned(),
            error,
        })?;
        for address in addresses {
            self.egress.check(address, None).await?;
        }
        Ok(())
    }
}

/// Resolver of names that leaves out what lies in a denied network.
struct EgressResolver(EgressPolicy);

impl Resolve for EgressResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let egress = self.0.clone();
        Box::pin(async move {
            let mut refusal = None;
            let mut allowed = Vec::new();
            for address in lookup_host((name.as_str(), 0)).await? {
                match egress.check_address(address, None) {
                    Ok(()) => allowed.push(address),
                    Err(error) => refusal = Some(error),
                }
            }
            match refusal.filter(|_| allowed.is_empty()) {
                Some(refusal) => Err(io::Error::other(refusal).into()),
                None => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    // Test 53.
    // guarantee: SECURITY-41
    #[tokio::test]
    async fn denied_management_face_is_sent_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await.unwrap();
            let answer = "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        let ask = async |deny: &str, own_ports: &[u16], url: String| {
            let deny = [deny.parse().unwrap()];
            let egress = EgressPolicy::without_members(&deny, &[], own_ports.iter().copied());
            let client = EgressClient::new(egress).unwrap();
            let request = client.http().get(url).timeout(Duration::from_secs(5));
            client.send(request).await
        };
        for (deny, own_ports, host) in [
            ("127.0.0.0/8", &[][..], "127.0.0.1"),
            ("127.0.0.0/8", &[], "localhost"),
            ("127.0.0.0/8", &[], "[::ffff:127.0.0.1]"),
            ("192.0.2.0/24", &[port], "127.0.0.1"),
            ("192.0.2.0/24", &[port], "localhost"),
        ] {
            let answer = ask(deny, own_ports, format!("http://{host}:{port}/")).await;
            let refused = matches!(answer, Err(EgressClientError::Refused(_)));
            assert!(refused, "{host}: {answer:?}");
        }
        // The first to arrive.
        let answer = ask("192.0.2.0/24", &[], format!("http://localhost:{port}/")).await;
        assert_eq!(answer.unwrap().status(), 204);
    }
}
