//! Speaks to the cluster over the admin face of any member.
//!
//! Reads are tried at each URL in turn. A write goes on to the next URL only where it was
//! surely not done: the connection was refused, or the member answered that it was not.
//! Once it may have been sent, its outcome is reported as it is, unknown included.

mod problem;
pub mod urls;

use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::{HeaderMap, Method, StatusCode};
use serde::de::DeserializeOwned;
use url::Url;

use super::{failure::Failure, output::Output};

pub use problem::Problem;

/// The options of every command that speaks to the cluster.
#[derive(Clone, Debug, Args)]
pub struct ClientArgs {
    /// Admin URLs of members, tried in turn
    #[arg(long, env = "QUORATE_ADMIN", value_name = "URL[,URL...]", default_value = urls::DEFAULT, value_parser = urls::parse)]
    pub admin: urls::Urls,
    /// How it is printed
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
    /// Longest time for one answer, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub timeout: u64,
}

/// What a member answered.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Failure::Refused(format!(
                "the answer is not understood ({error}); is that URL a member's admin port?"
            ))
        })
    }

    /// The thing's revision, from `ETag`.
    pub fn revision(&self) -> Option<String> {
        let tag = self.headers.get(http::header::ETAG)?.to_str().ok()?;
        Some(tag.trim_matches('"').to_owned())
    }

    /// The answer if it is a success, else what its problem says.
    pub fn good(self) -> Result<Answer, Failure> {
        if self.status.is_success() {
            Ok(self)
        } else {
            Err(Problem::of(&self).into_failure())
        }
    }
}

/// A request that is tried at one URL after the other.
#[derive(Clone, Debug)]
pub struct Call {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
    read: bool,
}

impl Call {
    /// A request without a body. The path begins with `/` and is percent-encoded.
    pub fn new(method: Method, path: impl Into<String>) -> Call {
        let read = method.is_safe();
        Call {
            method,
            path: path.into(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            read,
        }
    }

    /// Says that this one changes nothing, whatever its method: it may be sent again.
    pub fn harmless(mut self) -> Call {
        self.read = true;
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: http::HeaderName, value: &str) -> Result<Call, Failure> {
        let parsed = http::HeaderValue::from_str(value)
            .map_err(|_| Failure::Usage(format!("{value:?} can't stand in a header")))?;
        self.headers.insert(name, parsed);
        Ok(self)
    }

    /// Adds a JSON body.
    pub fn json(mut self, body: &serde_json::Value) -> Call {
        self.headers.insert(
            http::header::CONTENT_TYPE,
            http::HeaderValue::from_static("application/json"),
        );
        self.body = body.to_string().into();
        self
    }

    /// Adds raw bytes.
    pub fn raw(mut self, body: impl Into<Bytes>) -> Call {
        let kind = http::HeaderValue::from_static("application/octet-stream");
        self.headers.insert(http::header::CONTENT_TYPE, kind);
        self.body = body.into();
        self
    }

    fn is_read(&self) -> bool {
        self.read
    }
}

/// What became of a request at one URL.
enum Tried {
    /// An answer, whatever its status.
    Answered(Answer),
    /// It never reached the member.
    NotSent(String),
    /// It may have reached the member, and there is no answer.
    Lost(String),
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
        crate::tls::install_provider();
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
        let mut misses = Vec::new();
        let mut weak = None;
        for (at, url) in self.urls.iter().enumerate() {
            let last = at + 1 == self.urls.len();
            match self.try_at(url, &call).await {
                Tried::Answered(answer) if !last && surely_not_done(&call, &answer) => {
                    weak = Some(answer)
                }
                Tried::Answered(answer) => return Ok(answer),
                Tried::NotSent(why) => misses.push(format!("{}: {why}", bare(url))),
                Tried::Lost(why) if call.is_read() => misses.push(format!("{}: {why}", bare(url))),
                Tried::Lost(why) => return Err(unknown(&call, url, &why)),
            }
        }
        weak.ok_or_else(|| nobody(&misses))
    }

    async fn try_at(&self, url: &Url, call: &Call) -> Tried {
        let target = format!("{}{}", bare(url), call.path);
        // A read that one member does not answer has others to ask.
        let others = if call.is_read() {
            self.urls.len() as u32
        } else {
            1
        };
        let request = self
            .http
            .request(call.method.clone(), target)
            .headers(call.headers.clone())
            .body(call.body.clone())
            .timeout((self.timeout / others).max(Duration::from_secs(1)));
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() || error.is_builder() => {
                return Tried::NotSent(cause(&error));
            }
            Err(error) => return Tried::Lost(cause(&error)),
        };
        let (status, headers) = (response.status(), response.headers().clone());
        match response.bytes().await {
            Ok(body) => Tried::Answered(Answer {
                status,
                headers,
                body,
            }),
            // The outcome stands in the status; only what it said about it is lost.
            Err(_) if !call.is_read() && !status.is_server_error() => Tried::Answered(Answer {
                status,
                headers,
                body: Bytes::new(),
            }),
            Err(error) => Tried::Lost(cause(&error)),
        }
    }
}

/// Whether another member may do better with the same request: this one has no leader, is
/// leaving or is not up yet. All of them say so with 503, and that nothing was done.
fn surely_not_done(call: &Call, answer: &Answer) -> bool {
    answer.status == StatusCode::SERVICE_UNAVAILABLE
        && (call.is_read() || Problem::of(answer).code.is_some())
}

fn bare(url: &Url) -> &str {
    url.as_str().trim_end_matches('/')
}

/// The innermost cause: "connection refused" and not "error sending request".
fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".into();
    }
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

fn unknown(call: &Call, url: &Url, why: &str) -> Failure {
    Failure::Refused(format!(
        "the outcome of {} {} is not known: {} took it and did not answer ({why}). It may have been done; look before you repeat it",
        call.method,
        call.path,
        bare(url),
    ))
}

fn nobody(misses: &[String]) -> Failure {
    Failure::Unreachable(format!(
        "no member answered:\n  {}\nIs the cluster running (quorate quickstart)? If it is elsewhere, say where: --admin URL[,URL...] or QUORATE_ADMIN",
        misses.join("\n  ")
    ))
}

#[cfg(test)]
mod tests;
