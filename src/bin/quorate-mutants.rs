//! The same program with a planted bug in it, for the tests that have to find it: the one
//! that `QUORATE_MUTANT` names, or none.

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Err(unknown) = quorate_planted::plant_as_asked() {
        quorate_log::print_note(format_args!(
            "error: {}: {unknown}",
            quorate_planted::VARIABLE
        ));
        quorate_log::finish();
        return ExitCode::from(2);
    }
    quorate::program()
}
