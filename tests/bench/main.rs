//! `make bench-failover`: how long Quorate, etcd, ZooKeeper and Redis with Sentinel take to
//! go on after a fault of their leader, in one run on one machine.
//!
//! In each of a few laps every system is started alone, goes through its share of the
//! trials, one of each case in turn, and is ended. So what drifts while the run lasts
//! meets all of them, and none takes another's processor time. Results are written after each
//! system. `docs/benchmarks.md` says what is measured and how.
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "what a test prints is for whoever runs it"
)]
#![allow(missing_docs)]

mod clock;
mod etcd;
mod fault;
mod goal;
mod hold;
mod hosts;
mod lock;
mod options;
mod peer;
mod plan;
mod process;
mod processors;
mod progress;
mod quorate;
mod record;
mod redis;
mod report;
mod run;
mod stage;
mod trial;
mod writes;
mod zookeeper;

use clap::Parser;

use options::Options;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mark, rest @ ..] = &arguments[..]
        && mark == hold::MARK
    {
        return hold::run(rest);
    }
    let options = Options::parse_from(&arguments);
    if options.report {
        return report::write(&record::Record::load(&options.out), &options.out);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let done = runtime.expect("a runtime").block_on(async {
        tokio::select! {
            () = run::run(&options, arguments.join(" ")) => true,
            // Everything that was started ends with the run's future.
            _ = tokio::signal::ctrl_c() => false,
            () = hold::asked_to_end() => false,
        }
    });
    if !done {
        eprintln!("interrupted; what was measured until the last system is kept");
        std::process::exit(130);
    }
}
