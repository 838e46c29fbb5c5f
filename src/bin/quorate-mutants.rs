//! The same program with a planted bug in it, for the tests that have to find it: the one
//! that `QUORATE_MUTANT` names, or none.

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Err(unknown) = quorate_planted::plant_as_asked() {
        eprintln!("error: {}: {unknown}", quorate_planted::VARIABLE);
        return ExitCode::from(2);
    }
    quorate::program()
}
