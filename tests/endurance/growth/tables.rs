//! The report of growth, with the goals beside the figures.

use std::{fmt::Write as _, time::Duration};

use super::{Options, keys::KeysRow, measure::Restarts, resources::ResourcesRow};
use crate::{full_load::VALUE, report};

/// What the largest number of resources is to keep, in seconds.
pub const VALIDATE: f64 = 3.0;
pub const APPLY: f64 = 60.0;
pub const READY: f64 = 2.0;
pub const FIRST_WRITE: f64 = 3.0;
/// How many times as long as the first put the last one may take.
pub const LAST_PUT: f64 = 1.5;

/// The whole report.
pub fn markdown(
    options: &Options,
    resources: &[ResourcesRow],
    keys: &[KeysRow],
    (took, busy): (Duration, &str),
    findings: &[String],
) -> String {
    let list = |counts: &[u64]| {
        let counts: Vec<_> = counts.iter().map(u64::to_string).collect();
        counts.join(",")
    };
    let command = format!(
        "make growth ARGS=\"--resources {} --keys {} --failover-ms {}\"",
        list(&options.resources),
        list(&options.keys),
        options.common.failover_ms
    );
    let mut text = report::head("Growth", &command);
    let _ = writeln!(
        text,
        "\nEach number had a cluster of its own, three members with `failover_ms` {}; {:.0} s for all. Before it began the load average over one minute was {busy}: what else ran then is in the figures. How it is measured: [benchmarks.md](../benchmarks.md#growth).\n\n![Plot](growth.svg)",
        options.common.failover_ms,
        took.as_secs_f64()
    );
    if !resources.is_empty() {
        resources_table(&mut text, options, resources);
    }
    if !keys.is_empty() {
        keys_table(&mut text, options, keys);
    }
    for finding in findings {
        let _ = writeln!(text, "\n- {finding}");
    }
    text
}

/// What is measured of whatever grows.
trait Grown {
    fn restarts(&self) -> &Restarts;

    /// Of a member in KiB: before, after it was filled, and after a restart.
    fn memory(&self) -> [u64; 3];
}

impl Grown for ResourcesRow {
    fn restarts(&self) -> &Restarts {
        &self.restarts
    }

    fn memory(&self) -> [u64; 3] {
        [self.memory_before, self.memory_after, self.memory_restarted]
    }
}

impl Grown for KeysRow {
    fn restarts(&self) -> &Restarts {
        &self.restarts
    }

    fn memory(&self) -> [u64; 3] {
        [self.memory_before, self.memory_after, self.memory_restarted]
    }
}

/// One row for each figure, one column for each number.
fn table<R>(text: &mut String, rows: &[R], count: fn(&R) -> u64, figures: &[Figure<'_, R>]) {
    let names: Vec<_> = rows.iter().map(|row| thousands(count(row))).collect();
    let _ = writeln!(
        text,
        "\n| | {} | goal |\n|---|{}---|",
        names.join(" | "),
        "---|".repeat(rows.len())
    );
    for Figure { name, of, goal } in figures {
        let cells: Vec<_> = rows.iter().map(of).collect();
        let _ = writeln!(text, "| {name} | {} | {goal} |", cells.join(" | "));
    }
}

struct Figure<'f, R> {
    name: &'f str,
    of: fn(&R) -> String,
    goal: String,
}

fn resources_table(text: &mut String, options: &Options, rows: &[ResourcesRow]) {
    let load = &options.load;
    let _ = writeln!(
        text,
        "\n## Resources\n\nA fifth are services, the others HTTP channels. The load beside: {} writers of keys, {} clients of a service through HAProxy, each asking again as soon as it was answered, up to {} messages a second.",
        load.writers, load.readers, load.messages
    );
    let last = rows.last();
    let at_most = |limit: f64, of: fn(&ResourcesRow) -> f64| {
        format!(
            "{limit} {}",
            verdict(last.is_some_and(|row| of(row) <= limit))
        )
    };
    let none = |of: fn(&ResourcesRow) -> u64| {
        format!("0 {}", verdict(rows.iter().all(|row| of(row) == 0)))
    };
    let under_load: [Figure<'_, ResourcesRow>; 8] = [
        figure(
            "validate (`apply --dry-run`), s",
            |row| seconds(row.validate),
            at_most(VALIDATE, |row| row.validate),
        ),
        figure(
            "the same under load, s",
            |row| seconds(row.validate_loaded),
            at_most(VALIDATE, |row| row.validate_loaded),
        ),
        figure(
            "`apply` under load, s",
            |row| seconds(row.apply),
            at_most(APPLY, |row| row.apply),
        ),
        figure(
            "lapses of the lease in 20 s of the load alone",
            |row| row.lapses_alone.to_string(),
            String::new(),
        ),
        figure(
            "elections under load",
            |row| row.elections.to_string(),
            none(|row| row.elections),
        ),
        figure(
            "lapses of the lease under load",
            |row| row.lapses.to_string(),
            none(|row| row.lapses as u64),
        ),
        figure(
            "one put before and after, ms",
            |row| pair(row.put_first, row.put_last),
            at_most_times(last, |row| row.put_last / row.put_first),
        ),
        figure(
            "the same under load, ms",
            |row| pair(row.put_first_loaded, row.put_last_loaded),
            at_most_times(last, |row| row.put_last_loaded / row.put_first_loaded),
        ),
    ];
    let restarts = restart_figures(
        at_most(READY, |row| row.restarts.one),
        at_most(FIRST_WRITE, |row| row.restarts.three),
    );
    let each = figure(
        "of one resource after the restart, bytes",
        |row: &ResourcesRow| format!("{:.0}", row.bytes_each()),
        String::new(),
    );
    let memory = memory_figures("after `apply`, MiB");
    let figures: Vec<_> = under_load
        .into_iter()
        .chain(restarts)
        .chain(memory)
        .chain([each])
        .collect();
    table(text, rows, |row| row.count, &figures);
}

fn keys_table(text: &mut String, options: &Options, rows: &[KeysRow]) {
    let _ = writeln!(
        text,
        "\n## Keys\n\nValues of {VALUE} bytes, put by {} clients at the three members, nothing beside them.",
        options.key_writers
    );
    let none = String::new;
    let puts: [Figure<'_, KeysRow>; 3] = [
        figure("puts a second", |row| format!("{:.0}", row.rate), none()),
        figure("tries that failed", |row| row.failed.to_string(), none()),
        figure("elections", |row| row.elections.to_string(), none()),
    ];
    let snapshot = |row: &KeysRow| match row.snapshot_bytes {
        Some(bytes) => mib(bytes / 1024),
        None => "none yet".into(),
    };
    let each = |row: &KeysRow| format!("{:.0}", row.bytes_each());
    let kept = [
        figure("of one key after the restart, bytes", each, none()),
        figure("newest snapshot, MiB", snapshot, none()),
    ];
    let restarts = restart_figures(none(), none());
    let memory = memory_figures("after the puts, MiB");
    let figures: Vec<_> = puts
        .into_iter()
        .chain(restarts)
        .chain(memory)
        .chain(kept)
        .collect();
    table(text, rows, |row| row.count, &figures);
}

fn restart_figures<'f, R: Grown>(ready: String, first_write: String) -> [Figure<'f, R>; 3] {
    [
        figure(
            "one member to ready, s",
            |row: &R| seconds(row.restarts().one),
            ready,
        ),
        figure(
            "three at once to the first write, s",
            |row: &R| seconds(row.restarts().three),
            first_write,
        ),
        figure(
            "three at once to the last one's ready, s",
            |row: &R| seconds(row.restarts().three_ready),
            String::new(),
        ),
    ]
}

/// `after`: what was done between the first look at the memory and the second.
fn memory_figures<R: Grown>(after: &str) -> [Figure<'_, R>; 3] {
    let none = String::new;
    [
        figure(
            "memory of a member before, MiB",
            |row: &R| mib(row.memory()[0]),
            none(),
        ),
        figure(after, |row: &R| mib(row.memory()[1]), none()),
        figure(
            "after the restart, MiB",
            |row: &R| mib(row.memory()[2]),
            none(),
        ),
    ]
}

fn figure<R>(name: &str, of: fn(&R) -> String, goal: String) -> Figure<'_, R> {
    Figure { name, of, goal }
}

fn at_most_times(last: Option<&ResourcesRow>, of: fn(&ResourcesRow) -> f64) -> String {
    format!(
        "{LAST_PUT} times {}",
        verdict(last.is_some_and(|row| of(row) <= LAST_PUT))
    )
}

fn verdict(met: bool) -> &'static str {
    if met { "(met)" } else { "(**missed**)" }
}

fn seconds(seconds: f64) -> String {
    format!("{seconds:.2}")
}

/// Two times in ms, and how many times the first the second is.
fn pair(first: f64, last: f64) -> String {
    format!(
        "{:.1}, {:.1} (x {:.2})",
        first * 1000.0,
        last * 1000.0,
        last / first
    )
}

fn mib(kib: u64) -> String {
    format!("{:.1}", kib as f64 / 1024.0)
}

/// A number with a comma after each thousand.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
