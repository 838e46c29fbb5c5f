//! Dialling a host that may have several addresses, some of which don't answer.
//!
//! The addresses are tried in the order in which the system gives them, the next one when the one
//! before has failed or has been silent for a moment, and all of them go on side by side (RFC
//! 8305): an address that swallows everything costs that moment and nothing else. One that this host
//! denies ([`check_egress`]) is not connected to, whatever the name has led to a moment before.

use std::{io, net::SocketAddr, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use quorate_ipc::check_egress;
use quorate_platform::egress::EgressRefusal;
use tokio::{
    net::{TcpStream, lookup_host},
    runtime,
    time::{sleep, timeout},
};

/// Longest wait for the host's addresses, and for the connection to one of them.
const CONNECT: Duration = Duration::from_secs(4);
/// Time without an answer after which the next address is tried as well.
const NEXT: Duration = Duration::from_millis(250);
/// Upper bound of the addresses that are tried.
const ADDRESSES: usize = 16;

/// Connects to the first address that answers. The error names each address and its failure.
pub(crate) async fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    connect_any(lookup(host, port).await?).await
}

/// Returns the first address that takes a connection, which is closed again; an only address is not
/// tried, but has to be allowed as well.
pub(crate) async fn locate(host: &str, port: u16) -> io::Result<SocketAddr> {
    match lookup(host, port).await?[..] {
        [only] => allowed(only),
        ref several => connect_any(several.to_vec()).await?.peer_addr(),
    }
}

/// Returns the addresses of a host in the order in which the system gives them.
pub(crate) async fn lookup(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    #[cfg(test)]
    if let Some(addresses) = tests::addresses(host) {
        return Ok(addresses);
    }
    let failed = |why: String| io::Error::other(why);
    match timeout(CONNECT, lookup_host((host, port))).await {
        Ok(Ok(addresses)) => Ok(addresses.take(ADDRESSES).collect()),
        Ok(Err(error)) => Err(failed(format!("the name {host:?} has no address: {error}"))),
        Err(_) => Err(failed(format!(
            "no answer to the question for the address of {host:?} within {} s",
            CONNECT.as_secs()
        ))),
    }
}

/// Returns the address, if this host allows it.
pub(crate) fn allowed(address: SocketAddr) -> io::Result<SocketAddr> {
    check_egress(address, None).map_err(io::Error::other)?;
    Ok(address)
}

/// Waits for dialling on a thread that has no runtime.
pub(crate) fn waited_for<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(work);
    // A query to a name server may go on beyond the time that it was given.
    runtime.shutdown_background();
    done
}

async fn connect_any(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    first(addresses)
        .await
        .map_err(|errors| io::Error::other(summary(&errors)))
}

async fn first(addresses: Vec<SocketAddr>) -> Result<TcpStream, Vec<(SocketAddr, DialError)>> {
    let mut left = addresses.into_iter();
    let mut tries = FuturesUnordered::new();
    let mut errors = Vec::new();
    loop {
        let next = left.next();
        let last = next.is_none();
        if let Some(address) = next {
            tries.push(async move { (address, connect(address).await) });
        }
        let moment = async {
            if last {
                std::future::pending().await
            } else {
                sleep(NEXT).await
            }
        };
        tokio::select! {
            tried = tries.next() => match tried {
                Some((_, Ok(stream))) => return Ok(stream),
                Some((address, Err(why))) => errors.push((address, why)),
                None => return Err(errors),
            },
            () = moment => {}
        }
    }
}

/// Failure of one address.
#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error("no answer within {} s", CONNECT.as_secs())]
    NoAnswer,
    #[error(transparent)]
    NotAllowed(#[from] EgressRefusal),
    #[error(transparent)]
    Io(#[from] io::Error),
}

async fn connect(address: SocketAddr) -> Result<TcpStream, DialError> {
    check_egress(address, None)?;
    let connecting = timeout(CONNECT, TcpStream::connect(address)).await;
    let stream = connecting.map_err(|_| DialError::NoAnswer)??;
    check_egress(stream.peer_addr()?, Some(stream.local_addr()?.ip()))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn summary(errors: &[(SocketAddr, DialError)]) -> String {
    match errors {
        [] => "the host has no address".to_owned(),
        _ => {
            let each = errors
                .iter()
                .map(|(address, why)| format!("{address}: {why}"));
            each.collect::<Vec<_>>().join("; ")
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use parking_lot::Mutex;
    use quorate_clock::Instant;
    use socket2::{Domain, Socket, Type};
    use tokio::net::TcpListener;

    use super::*;

    static NAMES: Mutex<BTreeMap<String, Vec<SocketAddr>>> = Mutex::new(BTreeMap::new());

    /// Makes a name resolve to these addresses, whatever their ports, from now on.
    pub(crate) fn name(host: &str, addresses: Vec<SocketAddr>) {
        NAMES.lock().insert(host.to_owned(), addresses);
    }

    pub(super) fn addresses(host: &str) -> Option<Vec<SocketAddr>> {
        NAMES.lock().get(host).cloned()
    }

    /// Returns an address that takes no connection and refuses none: its queue is full.
    pub(crate) fn black_hole() -> (Socket, Vec<std::net::TcpStream>, SocketAddr) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any: SocketAddr = "127.0.0.2:0".parse().unwrap();
        socket.bind(&any.into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let mut taken = Vec::new();
        while let Ok(stream) =
            std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200))
        {
            taken.push(stream);
        }
        (socket, taken, address)
    }

    #[tokio::test]
    async fn an_address_that_swallows_everything_is_passed_by() {
        let (_socket, _taken, hole) = black_hole();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let began = Instant::now();
        let stream = first(vec![hole, good]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        assert!(began.elapsed() < CONNECT / 2, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn dial_error_names_each_address_and_failure() {
        let (_socket, _taken, hole) = black_hole();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let closed = listener.local_addr().unwrap();
        drop(listener);
        let began = Instant::now();
        let errors = first(vec![hole, closed]).await.unwrap_err();
        assert!(began.elapsed() < CONNECT * 2, "{:?}", began.elapsed());
        let text = summary(&errors);
        assert!(
            text.contains(&format!("{hole}: no answer within 4 s")),
            "{text}"
        );
        assert!(
            text.contains(&format!("{closed}: Connection refused")),
            "{text}"
        );
    }

    // Test 53.
    // guarantee: SECURITY-41
    #[tokio::test]
    async fn denied_address_of_a_name_is_not_connected() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let metadata: SocketAddr = "169.254.169.254:80".parse().unwrap();
        // The name leads elsewhere than it did when it was declared.
        name("moves.invalid", vec![good]);
        assert!(dial("moves.invalid", 1).await.is_ok());
        name("moves.invalid", vec![metadata]);
        for result in [
            dial("moves.invalid", 1).await.map(drop),
            locate("moves.invalid", 1).await.map(drop),
        ] {
            let told = result.unwrap_err().to_string();
            for text in ["169.254.169.254:80", "egress.deny", "egress.allow"] {
                assert!(told.contains(text), "{text}: {told}");
            }
        }
        // The other addresses of a name are used.
        name("moves.invalid", vec![metadata, good]);
        let stream = dial("moves.invalid", 1).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        assert_eq!(locate("moves.invalid", 1).await.unwrap(), good);
    }

    #[tokio::test]
    async fn a_host_may_have_addresses_of_ipv6_alone() {
        let Ok(listener) = TcpListener::bind("[::1]:0").await else {
            return println!("this machine has no IPv6");
        };
        let port = listener.local_addr().unwrap().port();
        assert!(dial("::1", port).await.is_ok());
        let unknown = dial("no.such.host.invalid", 1).await.unwrap_err();
        assert!(unknown.to_string().contains("has no address"), "{unknown}");
    }
}
