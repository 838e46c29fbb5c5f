//! The program: connector processes of this same file branch off first.

use std::process::ExitCode;

fn main() -> ExitCode {
    quorate::connector::child::run_if_asked();
    quorate::cli::main()
}
