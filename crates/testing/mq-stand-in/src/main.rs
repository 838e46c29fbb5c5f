//! The stand-in queue manager, by hand: `mq-stand-in [--listen HOST:PORT] [--name NAME]
//! [--channel NAME] [--journal FILE] [--user NAME:PASSWORD] QUEUE[:BACKOUT_QUEUE]...`
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a program for tests, which may end where nobody reads what it says"
)]

use std::{io, process::ExitCode};

use mq_stand_in::{
    control::Control,
    manager::{Manager, Settings},
    wire::Attributes,
};

const USAGE: &str = "usage: mq-stand-in [--listen HOST:PORT] [--name NAME] [--channel NAME] [--journal FILE] [--user NAME:PASSWORD] QUEUE[:BACKOUT_QUEUE]...

A stand-in for an IBM MQ queue manager, for tests and for trying out. It is not IBM MQ.
It is reached by the client library libmq_stand_in.so beside it, and by no other.";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// What keeps the stand-in from running.
#[derive(Debug, thiserror::Error)]
enum StandInError {
    #[error("{USAGE}")]
    Usage,
    #[error("{0} needs a value\n{USAGE}")]
    ValueMissing(String),
    #[error("mq-stand-in: {0}")]
    Io(io::Error),
}

fn run() -> Result<(), StandInError> {
    let mut settings = Settings {
        listen: "127.0.0.1:1414".to_owned(),
        ..Settings::default()
    };
    let (mut user, mut queues) = (None, Vec::new());
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || {
            args.next()
                .ok_or_else(|| StandInError::ValueMissing(arg.clone()))
        };
        match arg.as_str() {
            "--listen" => settings.listen = value()?,
            "--name" => settings.name = value()?,
            "--channel" => settings.channel = value()?,
            "--journal" => settings.journal = Some(value()?.into()),
            "--user" => user = Some(value()?),
            other if other.starts_with('-') => return Err(StandInError::Usage),
            queue => queues.push(queue.to_owned()),
        }
    }
    let name = settings.name.clone();
    let manager = Manager::start(settings).map_err(StandInError::Io)?;
    let address = manager.address().to_string();
    let mut control = Control::connect(&address).map_err(StandInError::Io)?;
    for queue in queues {
        let (queue, backout_queue) = queue.split_once(':').unwrap_or((&queue, ""));
        let attributes = Attributes {
            backout_queue: backout_queue.to_owned(),
            ..Attributes::default()
        };
        control
            .define(queue, attributes)
            .map_err(StandInError::Io)?;
        if !backout_queue.is_empty() {
            control
                .define(backout_queue, Attributes::default())
                .map_err(StandInError::Io)?;
        }
    }
    if let Some(user) = &user {
        control
            .users(user.split_once(':'))
            .map_err(StandInError::Io)?;
    }
    println!("the stand-in {name} for a queue manager (not IBM MQ) listens on {address}");
    manager.wait();
    Ok(())
}
