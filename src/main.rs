//! The program: a connector process when it is asked to be one.

fn main() {
    quorate::connector::child::run_if_asked();
}
