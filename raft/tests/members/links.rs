//! A proxy for each link, so that it can fall silent (nothing arrives, nothing is refused),
//! be reset (what is open is closed, what is new is refused), or be slow.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, LazyLock},
    time::Duration,
};

use parking_lot::Mutex;
use quorate_clock::{Instant, rng};
use quorate_testkit::ports;
use rand::Rng;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    runtime::Runtime,
    sync::{mpsc, watch},
    time::sleep_until,
};

use crate::group::listen;

/// How a link carries what it is given.
#[derive(Clone, Copy, Default)]
struct LinkSpeed {
    /// How long that takes, each way: at least, and at most.
    delay: (Duration, Duration),
    /// Bytes a second that each connection carries each way; `None` for as many as come.
    rate: Option<u32>,
}

/// Where the proxies run, whoever else stops.
static PROXIES: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
});

/// What a slow link takes at a time.
const PIECE: usize = 4096;
/// What it makes up for when the machine let it wait.
const CREDIT: Duration = Duration::from_millis(50);

/// All links of a group, by the addresses of the member that dials and the one dialled.
#[derive(Clone)]
pub struct Links(Arc<Mutex<BTreeMap<(String, String), Link>>>);

struct Link {
    proxy: SocketAddr,
    silent: watch::Sender<bool>,
    speed: watch::Sender<LinkSpeed>,
    /// Whether anyone listens at the far end; who dials is refused otherwise.
    up: watch::Sender<bool>,
    /// Whether who dials is accepted all the same, and hung up on.
    stubborn: bool,
}

impl Links {
    pub fn new() -> Self {
        Links(Arc::default())
    }

    /// Where `from` is to dial instead of `to`.
    pub fn dial(&self, from: &str, to: &str) -> String {
        let mut links = self.0.lock();
        let link = links
            .entry((from.to_owned(), to.to_owned()))
            .or_insert_with(|| self.open(to));
        link.proxy.to_string()
    }

    /// Cuts a member off from all others, without a word.
    pub fn silence(&self, address: &str, silent: bool) {
        for ((from, to), link) in &*self.0.lock() {
            if from == address || to == address {
                link.silent.send_replace(silent);
            }
        }
    }

    /// All links take this long each way.
    pub fn delay(&self, least: Duration, most: Duration) {
        for link in self.0.lock().values() {
            link.speed.send_modify(|speed| speed.delay = (least, most));
        }
    }

    /// A member has died, or is there again.
    pub fn up(&self, address: &str, up: bool) {
        for ((_, to), link) in &*self.0.lock() {
            if to == address && (up || !link.stubborn) {
                link.up.send_replace(up);
            }
        }
    }

    /// Resets both links between two members and refuses what is new, or lets it be.
    pub fn reset(&self, one: &str, other: &str, reset: bool) {
        for ((from, to), link) in &*self.0.lock() {
            if (from == one && to == other) || (from == other && to == one) {
                link.up.send_replace(!reset);
            }
        }
    }

    /// Keeps one link from carrying anything in one direction's calls.
    pub fn silence_one(&self, from: &str, to: &str, silent: bool) {
        let links = self.0.lock();
        let link = &links[&(from.to_owned(), to.to_owned())];
        link.silent.send_replace(silent);
    }

    /// Lets each connection to or from a member carry so many bytes a second each way.
    pub fn slow(&self, address: &str, rate: Option<u32>) {
        for ((from, to), link) in &*self.0.lock() {
            if from == address || to == address {
                link.speed.send_modify(|speed| speed.rate = rate);
            }
        }
    }

    /// Something in between goes on accepting for `to` when that has died.
    pub fn stubborn(&self, from: &str, to: &str, stubborn: bool) {
        let mut links = self.0.lock();
        let link = links.get_mut(&(from.to_owned(), to.to_owned())).unwrap();
        link.stubborn = stubborn;
    }

    fn open(&self, to: &str) -> Link {
        let proxy = SocketAddr::from(([127, 0, 0, 1], ports::free()));
        let (silent, listening) = watch::channel(false);
        let (speed, sped) = watch::channel(LinkSpeed::default());
        let (up, alive) = watch::channel(true);
        let mut listened = alive.clone();
        let to = to.to_owned();
        PROXIES.spawn(async move {
            while listened.wait_for(|up| *up).await.is_ok() {
                let listener = listen(&proxy.to_string()).await;
                let serve = async {
                    while let Ok((near, _)) = listener.accept().await {
                        let whole = carry(near, to.clone(), listening.clone(), sped.clone());
                        let mut alive = alive.clone();
                        tokio::spawn(async move {
                            tokio::select! {
                                () = whole => {}
                                _ = alive.wait_for(|up| !up) => {}
                            }
                        });
                    }
                };
                tokio::select! {
                    () = serve => {}
                    // The group is gone: nobody says any more whether it is up.
                    down = listened.wait_for(|up| !up) => if down.is_err() { return },
                }
            }
        });
        Link {
            proxy,
            silent,
            speed,
            up,
            stubborn: false,
        }
    }
}

async fn carry(
    near: TcpStream,
    to: String,
    mut silent: watch::Receiver<bool>,
    speed: watch::Receiver<LinkSpeed>,
) {
    if silent.wait_for(|silent| !silent).await.is_err() {
        return;
    }
    // Whoever is refused sees the connection close, as it would without a proxy.
    let Ok(far) = TcpStream::connect(to).await else {
        return;
    };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    tokio::select! {
        () = copy(near_in, far_out, silent.clone(), speed.clone()) => {}
        () = copy(far_in, near_out, silent, speed) => {}
    }
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut silent: watch::Receiver<bool>,
    speed: watch::Receiver<LinkSpeed>,
) {
    let (queue, mut due) = mpsc::channel::<(Instant, Vec<u8>)>(1024);
    let read = async move {
        let mut buffer = vec![0; 64 * 1024];
        let mut free = Instant::now();
        loop {
            let LinkSpeed { delay, rate } = *speed.borrow();
            // What is slow is taken in small pieces, so that it comes evenly.
            let most = if rate.is_some() { PIECE } else { buffer.len() };
            let Ok(n) = from.read(&mut buffer[..most]).await else {
                return;
            };
            if let Some(rate) = rate {
                free = free.max(Instant::now() - CREDIT)
                    + Duration::from_secs_f64(n as f64 / f64::from(rate));
                sleep_until(free).await;
            }
            let (least, most) = delay;
            let at = Instant::now() + least + (most - least).mul_f64(rng().random::<f64>());
            if n == 0 || queue.send((at, buffer[..n].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((at, data)) = due.recv().await {
            // In order: what is late holds up what is behind it.
            sleep_until(at).await;
            if silent.wait_for(|silent| !silent).await.is_err()
                || to.write_all(&data).await.is_err()
            {
                return;
            }
        }
    };
    // What was read before the end is still carried.
    let reads = async {
        read.await;
        std::future::pending().await
    };
    tokio::select! {
        () = write => {}
        () = reads => {}
    }
}
