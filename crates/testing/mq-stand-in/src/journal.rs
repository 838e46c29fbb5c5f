//! What a restart of the queue manager leaves: its queues, and the persistent messages.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    path::Path,
};

use serde::{Deserialize, Serialize};

use crate::wire::Attributes;

/// One line.
#[derive(Serialize, Deserialize)]
pub(crate) enum Entry {
    /// A queue was defined, or its attributes were changed.
    Defined {
        queue: String,
        attributes: Attributes,
    },
    /// A message is on a queue.
    Put {
        queue: String,
        number: u64,
        descriptor: String,
        message: String,
    },
    /// It is no more.
    Gone { number: u64 },
    /// It was backed out that often.
    BackedOut { number: u64, times: i32 },
}

/// The file, appended to; without one nothing is kept.
pub(crate) struct Journal(Option<File>);

/// What was there before.
#[derive(Default)]
pub(crate) struct Before {
    pub(crate) queues: BTreeMap<String, Attributes>,
    pub(crate) messages: BTreeMap<u64, Kept>,
}

/// A message of before.
pub(crate) struct Kept {
    pub(crate) queue: String,
    pub(crate) descriptor: Vec<u8>,
    pub(crate) message: Vec<u8>,
    pub(crate) backed_out: i32,
}

impl Journal {
    /// Opens it and reads what is in it.
    pub(crate) fn open(path: Option<&Path>) -> io::Result<(Self, Before)> {
        let mut before = Before::default();
        let Some(path) = path else {
            return Ok((Journal(None), before));
        };
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .read(true)
            .open(path)?;
        let kept = &mut before.messages;
        for line in BufReader::new(&file).lines() {
            // The last line before a kill may be half of one.
            let Ok(entry) = serde_json::from_str(&line?) else {
                continue;
            };
            match entry {
                Entry::Defined { queue, attributes } => {
                    before.queues.insert(queue, attributes);
                }
                Entry::Put {
                    queue,
                    number,
                    descriptor,
                    message,
                } => {
                    let kept_now = Kept {
                        queue,
                        descriptor: unhex(&descriptor),
                        message: unhex(&message),
                        backed_out: 0,
                    };
                    kept.insert(number, kept_now);
                }
                Entry::Gone { number } => drop(kept.remove(&number)),
                Entry::BackedOut { number, times } => {
                    if let Some(it) = kept.get_mut(&number) {
                        it.backed_out = times;
                    }
                }
            }
        }
        // So that nothing is appended to such a half. Empty lines are passed over.
        file.write_all(b"\n")?;
        Ok((Journal(Some(file)), before))
    }

    /// None.
    pub(crate) fn none() -> Self {
        Journal(None)
    }

    pub(crate) fn put(&mut self, queue: &str, number: u64, descriptor: &[u8], message: &[u8]) {
        self.write(&Entry::Put {
            queue: queue.to_owned(),
            number,
            descriptor: hex(descriptor),
            message: hex(message),
        });
    }

    pub(crate) fn write(&mut self, entry: &Entry) {
        let Some(file) = &mut self.0 else { return };
        let Ok(mut line) = serde_json::to_vec(entry) else {
            return;
        };
        line.push(b'\n');
        if let Err(error) = file.write_all(&line) {
            eprintln!("mq-stand-in: the journal can't be written: {error}");
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |it: u8| char::from(it).to_digit(16).unwrap_or(0) as u8;
    let pairs = text.as_bytes().chunks_exact(2);
    pairs
        .map(|pair| digit(pair[0]) * 16 + digit(pair[1]))
        .collect()
}
