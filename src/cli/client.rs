//! Speaks to the cluster over the admin face of any member.
//!
//! A read is asked of one member, and of the next as well when that one is silent for a
//! moment; the first good answer counts. What makes a member work for long is asked of one
//! at a time, and of no other once one was at work for as long as the caller waits. A write
//! goes on to the next URL only where it was surely not done: the connection was refused, or the member answered that it was not.
//! Once it may have been sent, its outcome is reported as it is, unknown included.

mod attempt;
mod call;
mod problem;
mod stream;
pub mod urls;

use std::time::Duration;

use clap::Args;
use futures_util::{StreamExt, stream::FuturesUnordered};
use http::Method;
use serde::de::DeserializeOwned;
use tokio::time::sleep;
use url::Url;

use super::{failure::Failure, output::Output};

pub use call::{Answer, Call};
pub use problem::Problem;
pub use stream::{Opened, Stream};

use attempt::{Tried, bare, surely_not_done};

/// How long a member may be silent on a read before the next one is asked too.
const HEAD_START: Duration = Duration::from_millis(400);

/// How many times as long as any other answer that of a costly call may take.
const COSTLY: u32 = 6;

/// The options of every command that speaks to the cluster.
#[derive(Clone, Debug, Args)]
pub struct ClientArgs {
    /// Admin URLs of members, tried in turn
    #[arg(long, env = "QUORATE_ADMIN", value_name = "URL[,URL...]", default_value = urls::DEFAULT, value_parser = urls::parse)]
    pub admin: urls::Urls,
    /// How it is printed
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
    /// Longest time for one answer, in seconds; six times as long for `apply` to have a file validated
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub timeout: u64,
}

/// A client of the cluster.
#[derive(Clone, Debug)]
pub struct Client {
    urls: Vec<Url>,
    http: reqwest::Client,
    timeout: Duration,
}

impl Client {
    /// A client as the options say.
    pub fn new(args: &ClientArgs) -> Result<Client, Failure> {
        Client::to(args.admin.0.clone(), Duration::from_secs(args.timeout))
    }

    /// A client of these URLs.
    pub fn to(urls: Vec<Url>, timeout: Duration) -> Result<Client, Failure> {
        quorate_platform::tls::install_provider();
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(1).min(timeout))
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("quorate/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Failure::Refused(format!("can't set up the HTTP client: {error}")))?;
        Ok(Client {
            urls,
            http,
            timeout,
        })
    }

    /// GET, the answer being a success.
    pub async fn get(&self, path: impl Into<String>) -> Result<Answer, Failure> {
        self.send(Call::new(Method::GET, path)).await?.good()
    }

    /// GET of JSON.
    pub async fn get_json<T: DeserializeOwned>(
        &self,
        path: impl Into<String>,
    ) -> Result<T, Failure> {
        self.get(path).await?.json()
    }

    /// Sends a request and gives the answer whatever its status; a failure only where no
    /// member answered for good.
    pub async fn send(&self, call: Call) -> Result<Answer, Failure> {
        match call.is_read() {
            true => self.read(&call).await,
            false => self.write(&call).await,
        }
    }

    async fn read(&self, call: &Call) -> Result<Answer, Failure> {
        let attempt = |url| self.named(url, call);
        let mut urls = self.urls.iter();
        let mut open = FuturesUnordered::new();
        let (mut misses, mut weak) = (Vec::new(), None);
        let mut late = false;
        loop {
            if open.is_empty() {
                match urls.next() {
                    Some(url) => open.push(attempt(url)),
                    None => break,
                }
            }
            tokio::select! {
                Some((url, tried)) = open.next() => match tried {
                    Tried::Answered(answer) if surely_not_done(call, &answer) => weak = Some(answer),
                    Tried::Answered(answer) => return Ok(answer),
                    Tried::Late(why) if call.is_costly() => return Err(self.late(call, &[format!("{url}: {why}")])),
                    Tried::Late(why) => {
                        late = true;
                        misses.push(format!("{url}: {why}"));
                    }
                    Tried::NotSent(why) | Tried::Lost(why) => misses.push(format!("{url}: {why}")),
                },
                () = sleep(HEAD_START), if urls.len() > 0 && !call.is_costly() => open.extend(urls.next().map(attempt)),
            }
        }
        weak.ok_or_else(|| match late {
            true => self.late(call, &misses),
            false => nobody(&misses),
        })
    }

    /// How long one answer may take.
    fn patience(&self, call: &Call) -> Duration {
        match call.is_costly() {
            true => self.timeout * COSTLY,
            false => self.timeout,
        }
    }

    /// What is said when a member is there and has not answered in time.
    fn late(&self, call: &Call, misses: &[String]) -> Failure {
        Failure::Unreachable(format!(
            "no member answered within {} s:\n  {}\nA member was reached and was not ready in time: it may have much to do, or the cluster is without a leader. Look at `quorate status`, or give it more time: --timeout SECONDS",
            self.patience(call).as_secs(),
            misses.join("\n  ")
        ))
    }

    async fn named<'a>(&'a self, url: &'a Url, call: &'a Call) -> (&'a str, Tried) {
        (bare(url), self.try_at(url, call).await)
    }

    async fn write(&self, call: &Call) -> Result<Answer, Failure> {
        let (mut misses, mut weak) = (Vec::new(), None);
        for url in &self.urls {
            match self.try_at(url, call).await {
                Tried::Answered(answer) if surely_not_done(call, &answer) => weak = Some(answer),
                Tried::Answered(answer) => return Ok(answer),
                Tried::NotSent(why) => misses.push(format!("{}: {why}", bare(url))),
                Tried::Lost(why) | Tried::Late(why) => return Err(unknown(call, url, &why)),
            }
        }
        weak.ok_or_else(|| nobody(&misses))
    }
}

fn unknown(call: &Call, url: &Url, why: &str) -> Failure {
    Failure::Refused(format!(
        "the outcome of {} {} is not known: {} took it and did not answer ({why}). It may have been done; look before you repeat it",
        call.method,
        call.path,
        bare(url),
    ))
}

/// What is said when no member answered.
pub fn nobody(misses: &[String]) -> Failure {
    Failure::Unreachable(format!(
        "no member answered:\n  {}\nIs the cluster running (quorate quickstart)? If it is elsewhere, say where: --admin URL[,URL...] or QUORATE_ADMIN",
        misses.join("\n  ")
    ))
}

#[cfg(test)]
mod tests;
