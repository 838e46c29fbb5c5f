//! The client of the cluster, over the administration API of any member.
//!
//! A read is asked of one member, and of the next as well when that one is silent for a moment; the
//! first good answer counts. A call that makes a member work for long is asked of one member at a
//! time, and of no other once one was at work for as long as the caller waits. A write goes on to
//! the next URL only where it was surely not done: the connection was refused, or the member
//! answered that it was not. Once it may have been sent, its outcome is reported as it is, unknown
//! included.

mod attempt;
mod call;
mod problem;
mod stream;
mod tls;
pub mod token;
pub mod urls;

use std::{
    fs::File,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::Args;
use futures_util::{StreamExt, stream::FuturesUnordered};
use http::{HeaderMap, Method, header::AUTHORIZATION};
use quorate_platform::http_client;
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::sleep;
use url::Url;

use super::{
    error::CliError,
    output::{self, OutputFormat},
};

pub use call::{ApiAnswer, ApiCall};
pub use problem::ProblemAnswer;
pub use stream::{AnswerStream, StreamStart};
pub use tls::ClientTlsArgs;

use attempt::{AttemptOutcome, bare, surely_not_done};

/// The time for which a member may be silent on a read before the next one is asked too.
const HEAD_START: Duration = Duration::from_millis(400);

/// The factor by which a costly call may take longer than any other.
const COSTLY: u32 = 6;

/// The options of every command that speaks to the cluster.
#[derive(Clone, Debug, Args)]
pub struct ClientArgs {
    /// Admin URLs of members, tried in turn
    #[arg(long, env = "QUORATE_ADMIN", value_name = "URL[,URL...]", default_value = urls::DEFAULT, value_parser = urls::parse)]
    pub admin: urls::AdminUrls,
    /// File with the token that is shown to the members
    #[arg(long, env = "QUORATE_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Local socket of a member on this host, which is asked instead
    #[arg(long, env = "QUORATE_SOCKET", value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// How it is printed
    #[arg(long, value_enum, default_value_t)]
    pub output: OutputFormat,
    /// Longest time for one answer, in seconds; six times as long for `apply` to have a file validated
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub timeout: u64,
    /// How members and the caller prove who they are
    #[command(flatten)]
    pub tls: ClientTlsArgs,
}

/// A client of the cluster.
#[derive(Clone, Debug)]
pub struct AdminClient {
    urls: Vec<Url>,
    http: reqwest::Client,
    timeout: Duration,
    /// The folder of the local socket, by which it has a short path.
    _folder: Option<Arc<File>>,
}

impl AdminClient {
    /// Makes the client that the options describe.
    pub fn new(args: &ClientArgs) -> Result<AdminClient, CliError> {
        AdminClient::with_timeout(args, Duration::from_secs(args.timeout))
    }

    /// Makes the client that the options describe, with another time for one answer.
    pub fn with_timeout(args: &ClientArgs, timeout: Duration) -> Result<AdminClient, CliError> {
        if let Some(socket) = &args.socket {
            return AdminClient::at_socket(socket, timeout);
        }
        let urls = args.admin.0.clone();
        let token = token::header(args.token_file.as_deref())?;
        let headers = token.map(|token| (AUTHORIZATION, token));
        let http = builder(timeout, args.tls.config(&urls)?);
        let http = http.default_headers(HeaderMap::from_iter(headers));
        AdminClient::built(http, urls, timeout, None)
    }

    /// Makes a client of a member's local socket. The socket's path may be longer than the 107 bytes
    /// that the system takes: it is reached through its open folder.
    fn at_socket(socket: &Path, timeout: Duration) -> Result<AdminClient, CliError> {
        let failed = |what: &dyn std::fmt::Display| {
            CliError::Unreachable(format!(
                "the local socket {}: {what}. Does the member run, with security.mode = \"on\", and is it yours?",
                socket.display()
            ))
        };
        let name = socket
            .file_name()
            .ok_or_else(|| failed(&"it has no name"))?;
        let folder = match socket.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let folder = File::open(folder).map_err(|error| failed(&error))?;
        if let Err(error) = socket.metadata() {
            return Err(failed(&error));
        }
        let short = Path::new("/proc/self/fd")
            .join(folder.as_raw_fd().to_string())
            .join(name);
        let http = builder(timeout, None).unix_socket(short);
        let url = Url::parse("http://localhost").expect("invariant: this is a URL");
        AdminClient::built(http, vec![url], timeout, Some(Arc::new(folder)))
    }

    /// Makes a client of these URLs, which proves who asks where they are https.
    pub fn with_tls(
        urls: Vec<Url>,
        timeout: Duration,
        tls: &ClientTlsArgs,
    ) -> Result<AdminClient, CliError> {
        let tls = tls.config(&urls)?;
        AdminClient::built(builder(timeout, tls), urls, timeout, None)
    }

    /// Makes a client of these URLs, for plain HTTP.
    pub fn with_urls(urls: Vec<Url>, timeout: Duration) -> Result<AdminClient, CliError> {
        AdminClient::built(builder(timeout, None), urls, timeout, None)
    }

    fn built(
        http: reqwest::ClientBuilder,
        urls: Vec<Url>,
        timeout: Duration,
        folder: Option<Arc<File>>,
    ) -> Result<AdminClient, CliError> {
        urls::check_userinfo(&urls)?;
        let http = http
            .build()
            .map_err(|error| CliError::Refused(format!("can't set up the HTTP client: {error}")))?;
        Ok(AdminClient {
            urls,
            http,
            timeout,
            _folder: folder,
        })
    }

    /// Gets a path; a status other than success is an error.
    pub async fn get(&self, path: impl Into<String>) -> Result<ApiAnswer, CliError> {
        self.send(ApiCall::new(Method::GET, path)).await?.good()
    }

    /// Gets JSON.
    pub async fn get_json<T: DeserializeOwned>(
        &self,
        path: impl Into<String>,
    ) -> Result<T, CliError> {
        self.get(path).await?.json()
    }

    /// Sends a request and returns the answer whatever its status; an error only where no member
    /// answered for good.
    pub async fn send(&self, call: ApiCall) -> Result<ApiAnswer, CliError> {
        if call.is_read() {
            self.read(&call).await
        } else {
            self.write(&call).await
        }
    }

    async fn read(&self, call: &ApiCall) -> Result<ApiAnswer, CliError> {
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
                    AttemptOutcome::Answered(answer) if surely_not_done(call, &answer) => weak = Some(answer),
                    AttemptOutcome::Answered(answer) => return Ok(answer),
                    AttemptOutcome::Late(why) if call.is_costly() => return Err(self.late(call, &[format!("{url}: {why}")])),
                    AttemptOutcome::Late(why) => {
                        late = true;
                        misses.push(format!("{url}: {why}"));
                    }
                    AttemptOutcome::NotSent(why) | AttemptOutcome::Lost(why) => misses.push(format!("{url}: {why}")),
                },
                () = sleep(HEAD_START), if urls.len() > 0 && !call.is_costly() => open.extend(urls.next().map(attempt)),
            }
        }
        weak.ok_or_else(|| {
            if late {
                self.late(call, &misses)
            } else {
                no_member_answered(&misses)
            }
        })
    }

    /// Returns the time for one answer.
    fn patience(&self, call: &ApiCall) -> Duration {
        if call.is_costly() {
            self.timeout * COSTLY
        } else {
            self.timeout
        }
    }

    /// Makes the error for a member that is there and has not answered in time.
    fn late(&self, call: &ApiCall, misses: &[String]) -> CliError {
        CliError::Unreachable(format!(
            "no member answered within {} s:\n  {}\nA member was reached and was not ready in time: it may have much to do, or the cluster is without a leader. Look at `quorate status`, or give it more time: --timeout SECONDS",
            self.patience(call).as_secs(),
            misses.join("\n  ")
        ))
    }

    async fn named<'a>(&'a self, url: &'a Url, call: &'a ApiCall) -> (&'a str, AttemptOutcome) {
        (bare(url), self.try_at(url, call).await)
    }

    async fn write(&self, call: &ApiCall) -> Result<ApiAnswer, CliError> {
        let (mut misses, mut weak) = (Vec::new(), None);
        for url in &self.urls {
            match self.try_at(url, call).await {
                AttemptOutcome::Answered(answer) if surely_not_done(call, &answer) => {
                    weak = Some(answer)
                }
                AttemptOutcome::Answered(answer) => return Ok(answer),
                AttemptOutcome::NotSent(why) => misses.push(format!("{}: {why}", bare(url))),
                AttemptOutcome::Lost(why) | AttemptOutcome::Late(why) => {
                    return Err(unknown(call, url, &why));
                }
            }
        }
        weak.ok_or_else(|| no_member_answered(&misses))
    }
}

fn builder(timeout: Duration, tls: Option<rustls::ClientConfig>) -> reqwest::ClientBuilder {
    let mut builder = http_client::builder();
    if let Some(tls) = tls {
        builder = builder.tls_backend_preconfigured(tls);
    }
    builder
        .connect_timeout(Duration::from_secs(1).min(timeout))
        .user_agent(concat!("quorate/", env!("CARGO_PKG_VERSION")))
}

fn unknown(call: &ApiCall, url: &Url, why: &str) -> CliError {
    CliError::Refused(format!(
        "the outcome of {} {} is not known: {} took it and did not answer ({why}). It may have been done; look before you repeat it",
        call.method,
        call.path,
        bare(url),
    ))
}

/// Makes the error for a cluster of which no member answered.
pub fn no_member_answered(misses: &[String]) -> CliError {
    CliError::Unreachable(format!(
        "no member answered:\n  {}\nIs the cluster running (quorate quickstart)? If it is elsewhere, say where: --admin URL[,URL...] or QUORATE_ADMIN",
        misses.join("\n  ")
    ))
}

/// Gets `path` and prints the answer, as JSON as it came, or with `table`: the whole of every
/// command that only asks. Returns the answer to the caller, which may have more to print on
/// stderr.
pub async fn get_and_print<T: Serialize + DeserializeOwned>(
    args: &ClientArgs,
    path: &str,
    table: impl FnOnce(&T) -> Result<(), CliError>,
) -> Result<T, CliError> {
    let answer: T = AdminClient::new(args)?.get_json(path).await?;
    match args.output {
        OutputFormat::Json => output::json(&answer)?,
        OutputFormat::Table => table(&answer)?,
    }
    Ok(answer)
}

#[cfg(test)]
mod tests;
