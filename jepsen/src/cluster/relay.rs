//! Relay before each member's peer port, which delays what goes through it.
//!
//! The kernels that this has to run on can't delay packets by themselves (no netem).
//!
//! What it shows to members is what TCP shows of a slow link: bytes that come late and in
//! order. Members learn of it as the address at which others reach a member.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use quorate_clock::{Instant, rng};
use rand::Rng;
use tokio::{
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

/// Number of chunks that are under way at a time in one direction; a sender that has more waits.
const UNDER_WAY: usize = 1024;

/// Delay of all relays of a run, as it is now.
#[derive(Default)]
pub struct RelayDelay {
    delay_us: AtomicU64,
    jitter_us: AtomicU64,
    /// The number of chunks that were delayed.
    delayed: AtomicU64,
}

impl RelayDelay {
    /// Delays what comes from now on by so much, and up to `jitter` more.
    pub fn set(&self, delay: Duration, jitter: Duration) {
        self.delay_us
            .store(delay.as_micros() as u64, Ordering::Relaxed);
        self.jitter_us
            .store(jitter.as_micros() as u64, Ordering::Relaxed);
    }

    /// Returns the number of chunks that were delayed so far.
    pub fn delayed(&self) -> u64 {
        self.delayed.load(Ordering::Relaxed)
    }

    fn now(&self) -> Duration {
        let delay = self.delay_us.load(Ordering::Relaxed);
        let jitter = self.jitter_us.load(Ordering::Relaxed);
        if delay + jitter == 0 {
            return Duration::ZERO;
        }
        self.delayed.fetch_add(1, Ordering::Relaxed);
        Duration::from_micros(delay + rng().random_range(0..=jitter))
    }
}

/// Relays connections to `to`; gives where.
pub async fn start(
    at: std::net::Ipv4Addr,
    to: SocketAddr,
    slowness: Arc<RelayDelay>,
) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((at, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((from, _)) = listener.accept().await {
            tokio::spawn(relay(from, to, slowness.clone()));
        }
    });
    Ok(address)
}

async fn relay(from: TcpStream, to: SocketAddr, slowness: Arc<RelayDelay>) {
    // Dropped at once when nobody listens: the other end sees a reset soon after.
    let Ok(to) = TcpStream::connect(to).await else {
        let _ = from.set_zero_linger();
        return;
    };
    let _ = (from.set_nodelay(true), to.set_nodelay(true));
    let (from_read, from_write) = from.into_split();
    let (to_read, to_write) = to.into_split();
    // The end of either direction ends the connection, as a death at either end does.
    tokio::select! {
        () = one_way(from_read, to_write, &slowness) => {}
        () = one_way(to_read, from_write, &slowness) => {}
    }
}

async fn one_way(
    mut from: impl AsyncReadExt + Unpin,
    to: impl AsyncWrite + Unpin,
    slowness: &RelayDelay,
) {
    let (chunks, due) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    let read = async {
        let mut buffer = vec![0; 64 << 10];
        let mut last = Instant::now();
        while let Ok(count) = from.read(&mut buffer).await {
            if count == 0 {
                break;
            }
            // In order, whatever the jitter says.
            last = last.max(Instant::now() + slowness.now());
            let chunk = (last, buffer[..count].to_vec());
            if chunks.send(chunk).await.is_err() {
                break;
            }
        }
        drop(chunks);
    };
    tokio::join!(read, write(due, to));
}

async fn write(mut due: mpsc::Receiver<(Instant, Vec<u8>)>, mut to: impl AsyncWrite + Unpin) {
    while let Some((at, chunk)) = due.recv().await {
        tokio::time::sleep_until(at).await;
        if to.write_all(&chunk).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn relayed_bytes_arrive_late_and_in_order() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        let slowness = Arc::<RelayDelay>::default();
        let at = start([127, 0, 0, 1].into(), to, slowness.clone())
            .await
            .unwrap();
        let mut client = TcpStream::connect(at).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        slowness.set(Duration::from_millis(100), Duration::from_millis(50));
        let sent = Instant::now();
        for n in 0..50_u8 {
            client.write_all(&[n]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let mut got = [0; 50];
        server.read_exact(&mut got).await.unwrap();
        assert!(sent.elapsed() >= Duration::from_millis(100));
        assert!(got.is_sorted() && slowness.delayed() > 0);
        drop(server);
        assert_eq!(client.read(&mut got).await.unwrap_or(0), 0);
    }
}
