//! A member with services of its own, in a program of its own.
//!
//! ```sh
//! printf 'name = "one"\ndata_dir = "data"\n' > /tmp/one/quorate.toml
//! cargo run --example embedded -- /tmp/one/quorate.toml --bootstrap
//! ```
//!
//! The service is there under its name on every member whose program carries it; an HTTP
//! channel leads to it from all members, those of the plain `quorate` binary included:
//!
//! ```sh
//! quorate apply -f - --admin http://127.0.0.1:17110 <<END
//! {"kind": "http_channel", "name": "greet", "path": "/greet/{name}", "service": "greet"}
//! END
//! curl localhost:17010/greet/world        # {"hello":"world"}
//! ```
//!
//! A member that has joined a cluster before is started without flags; `--join ADMIN_URL`
//! joins one.

use std::{env, error::Error, path::Path, process::ExitCode, sync::LazyLock};

use quorate::{
    Origin, Reply, Request, Service, ServiceError, log,
    server::{Server, StartMode},
    service::async_trait,
    settings::Settings,
};
use tokio::signal::unix::{SignalKind, signal};

struct Greet;

#[async_trait]
impl Service for Greet {
    async fn handle(&self, request: Request) -> Result<Reply, ServiceError> {
        match request.params.get("name") {
            Some(name) => Ok(Reply::json(
                serde_json::json!({ "hello": name }).to_string(),
            )),
            None => Ok(Reply::text(400, "who is to be greeted?")),
        }
    }
}

/// Passes messages on: a channel with `service: relay` brings them here, and each goes to the HTTP
/// server at `RELAY_TO`, with the epoch and ids by which that server can refuse a stale copy.
struct Relay {
    /// Made when the first message comes: the member has installed its TLS provider by then.
    http: LazyLock<reqwest::Client>,
    to: String,
}

#[async_trait]
impl Service for Relay {
    async fn handle(&self, request: Request) -> Result<Reply, ServiceError> {
        let Origin::Message(message) = &request.origin else {
            return Ok(Reply::text(400, "only messages are relayed"));
        };
        let call = self
            .http
            .post(&self.to)
            .timeout(request.remaining())
            .header("quorate-channel", &message.channel)
            .header("quorate-epoch", message.epoch)
            .header("quorate-message-id", &message.id)
            .header("quorate-attempt", message.attempt)
            .body(request.body.clone());
        let answer = call.send().await;
        let answer = answer.map_err(|error| ServiceError::Failed(error.to_string()))?;
        Ok(Reply::empty(answer.status()))
    }
}

fn main() -> ExitCode {
    // Connector processes are started from this same program: this comes before all else.
    quorate::run_if_asked();
    let code = match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::print_note(format_args!("embedded: {error}"));
            ExitCode::FAILURE
        }
    };
    log::finish();
    code
}

#[tokio::main]
async fn run() -> Result<(), Box<dyn Error>> {
    let usage = "usage: embedded FILE [--bootstrap | --join ADMIN_URL]";
    let args: Vec<String> = env::args().skip(1).collect();
    let (file, start_mode) = match &args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [file] => (*file, StartMode::Resume),
        [file, "--bootstrap"] => (*file, StartMode::Bootstrap),
        [file, "--join", url] => (*file, StartMode::Join(vec![url.parse()?])),
        _ => return Err(usage.into()),
    };
    let settings = Settings::load(Path::new(file), env::vars(), &[])?;
    // Or a subscriber of one's own: one that can't be hung or ended by what it writes to.
    log::start(&settings.log);
    let mut builder = Server::builder(settings)
        .start_mode(start_mode)
        .service("greet", Greet);
    if let Ok(to) = env::var("RELAY_TO") {
        let relay = Relay {
            http: LazyLock::new(reqwest::Client::new),
            to,
        };
        builder = builder.service("relay", relay);
    }
    let member = builder.build()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
    };
    Ok(member.run(stop).await?)
}
