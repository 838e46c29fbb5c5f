//! Generates the types with protox, so that no protoc is needed.
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "it speaks to cargo"
)]
use std::{env, error::Error, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let dir = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("proto");
    let files = ["peer.proto", "command.proto", "connector.proto"];
    println!("cargo:rerun-if-changed=proto");
    let set = protox::compile(files, [&dir])?;
    tonic_prost_build::configure().bytes(".").compile_fds(set)?;
    Ok(())
}
