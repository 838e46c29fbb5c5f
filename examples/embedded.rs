//! A member with a service of its own, in a program of its own.
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

use std::{env, error::Error, path::Path, process::ExitCode};

use quorate::{
    Reply, Request, Service, ServiceError,
    server::{Birth, Server},
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

fn main() -> ExitCode {
    // Connector processes are started from this same program: this comes before all else.
    quorate::connector::child::run_if_asked();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("embedded: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run() -> Result<(), Box<dyn Error>> {
    let usage = "usage: embedded FILE [--bootstrap | --join ADMIN_URL]";
    let args: Vec<String> = env::args().skip(1).collect();
    let (file, birth) = match &args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [file] => (*file, Birth::Resume),
        [file, "--bootstrap"] => (*file, Birth::Bootstrap),
        [file, "--join", url] => (*file, Birth::Join(vec![url.parse()?])),
        _ => return Err(usage.into()),
    };
    let settings = Settings::load(Path::new(file), env::vars(), &[])?;
    tracing_subscriber::fmt()
        .with_env_filter(&settings.log.level)
        .with_writer(std::io::stderr)
        .init();
    let member = Server::builder(settings)
        .birth(birth)
        .service("greet", Greet)
        .build()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
    };
    Ok(member.run(stop).await?)
}
