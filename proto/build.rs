//! Generates the types with protox, so that no protoc is needed.
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "it speaks to cargo"
)]
use std::{env, error::Error, path::PathBuf};

/// Messages with passwords or with data that users send and keep: their debug output is written
/// by hand, in `src/debug.rs`.
const WITH_SECRETS: &[&str] = &[
    ".quorate.command.PutResource",
    ".quorate.command.PutKey",
    ".quorate.command.CreateToken",
    ".quorate.command.CreateVoucherKey",
    ".quorate.connector.Configure",
    ".quorate.connector.Send",
    ".quorate.connector.Reply",
    ".quorate.connector.Header",
    ".quorate.connector.Delivery",
    ".quorate.peer.Entry",
    ".quorate.peer.SnapshotChunk",
    ".quorate.peer.ProposeRequest",
    ".quorate.peer.Header",
    ".quorate.peer.Invocation",
    ".quorate.peer.ServiceReply",
];

fn main() -> Result<(), Box<dyn Error>> {
    let dir = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("proto");
    let files = ["peer.proto", "command.proto", "connector.proto"];
    println!("cargo:rerun-if-changed=proto");
    let set = protox::compile(files, [&dir])?;
    tonic_prost_build::configure()
        .bytes(".")
        .skip_debug(WITH_SECRETS)
        .compile_fds(set)?;
    Ok(())
}
