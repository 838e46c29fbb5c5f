//! What was measured, as tables and as raw figures.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use serde_json::{Value, json};

use super::{
    super::{
        footprint::{Process, percentile},
        spread::ms,
    },
    mix,
    trial::{STANDBY_MAX, Trial},
};

/// The most that a process may have in the middle, by the aim; KiB.
const AIM: u64 = 4 << 10;

/// One trial, while the run goes on.
pub fn line(trial: &Trial) -> String {
    format!(
        "{} active after {} ms; taken over after {} ms, a message through each after {} ms; {} KiB PSS in the middle; terms {:?}; {:?}",
        trial.connectors.len(),
        ms(trial.active),
        ms(trial.all_active),
        ms(trial.round.last()),
        spread(&trial.active_processes, |it| it.pss)[0],
        trial.terms,
        trial.findings
    )
}

/// Median, 95th percentile and the most.
fn spread(processes: &[Process], of: fn(&Process) -> u64) -> [u64; 3] {
    let values: Vec<u64> = processes.iter().map(of).collect();
    [50, 95, 100].map(|percent| percentile(values.clone(), percent))
}

fn mib(kib: u64) -> String {
    format!("{:.1}", kib as f64 / 1024.0)
}

fn sum(processes: &[Process]) -> u64 {
    processes.iter().map(|it| it.pss).sum()
}

pub fn markdown(trials: &[Trial]) -> String {
    let mut text = String::new();
    if let Some(most) = trials.last() {
        let kinds: Vec<_> = mix::by_kind(&most.connectors)
            .into_iter()
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        let _ = writeln!(
            text,
            "\nEach number of connectors on a fresh cluster of three members and with a RabbitMQ of its own, `standby_max` at its default ({STANDBY_MAX}). \
             The most were {} in all: {}. What is measured and how: [benchmarks.md](../benchmarks.md#connectors-in-great-number).",
            most.connectors.len(),
            kinds.join(", ")
        );
    }
    start(&mut text, trials);
    takeover(&mut text, trials);
    memory(&mut text, trials);
    machine(&mut text, trials);
    let findings: Vec<_> = trials.iter().flat_map(|trial| &trial.findings).collect();
    match findings.is_empty() {
        true => text.push_str(
            "\nA message went through every connector before and after each takeover, and nobody was elected but by the kill.\n",
        ),
        false => {
            text.push_str("\nFound:\n\n");
            for finding in findings {
                let _ = writeln!(text, "- {}", finding.replace('\n', " "));
            }
        }
    }
    text
}

fn start(text: &mut String, trials: &[Trial]) {
    text.push_str(
        "\n## Start\n\nFrom the start of `quorate apply` with all connectors in one file, ms.\n\n\
         | connectors | applied | all active | standbys stand by | one message through each, from then on |\n|---|---|---|---|---|\n",
    );
    for trial in trials {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            trial.connectors.len(),
            ms(trial.applied),
            ms(trial.active),
            ms(trial.standing),
            ms(trial.first_round.last())
        );
    }
}

fn takeover(text: &mut String, trials: &[Trial]) {
    text.push_str(
        "\n## Takeover\n\nFrom `kill -9` of the connector server, ms. A message for each connector is there at the kill, or is sent again until it comes. \
         First and last active are what the takeover tells of itself; it waits 10 s for the last.\n\n\
         | connectors | of them warm | next connector server | first active | last active | all seen active | first message | last message | last message by kind | terms |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    for trial in trials {
        let story = |name: &str| match trial.story[name].as_f64() {
            Some(time) => ms(Duration::from_secs_f64(time.max(0.0) / 1e3)),
            None => "-".to_owned(),
        };
        let kinds: Vec<_> = trial
            .round
            .last_by_kind()
            .into_iter()
            .map(|(kind, time)| format!("{kind} {}", ms(time)))
            .collect();
        let [before, then, end] = trial.terms;
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {before}, {then}, {end} |",
            trial.connectors.len(),
            trial.connectors.len().min(STANDBY_MAX),
            ms(trial.reign),
            story("first_active_ms"),
            story("last_active_ms"),
            ms(trial.all_active),
            ms(trial.round.first()),
            ms(trial.round.last()),
            kinds.join(", "),
        );
    }
}

fn memory(text: &mut String, trials: &[Trial]) {
    let _ = writeln!(
        text,
        "\n## Each process\n\nPSS is a process's part of the memory: pages that several have are divided among them. \
         Aim: at most {} MiB each. MiB; median / p95 / most.\n\n\
         | connectors | process | n | PSS | private and written to | open files | threads |\n|---|---|---|---|---|---|---|",
        mib(AIM)
    );
    for trial in trials {
        let groups = [
            ("active", &trial.active_processes),
            ("standby", &trial.standby_processes),
        ];
        for (stance, processes) in groups {
            for (kind, processes) in grouped(processes) {
                row(text, trial, &format!("{stance} {kind}"), &processes);
            }
        }
        row(text, trial, "member", &trial.members);
    }
}

fn grouped(processes: &[Process]) -> BTreeMap<&str, Vec<Process>> {
    let mut groups = BTreeMap::<&str, Vec<Process>>::new();
    for process in processes {
        let group = groups.entry(process.kind()).or_default();
        group.push(process.clone());
    }
    groups
}

fn row(text: &mut String, trial: &Trial, what: &str, processes: &[Process]) {
    let memory = |of| spread(processes, of).map(mib).join(" / ");
    let counts = |of| spread(processes, of).map(|it| it.to_string()).join(" / ");
    let _ = writeln!(
        text,
        "| {} | {what} | {} | {} | {} | {} | {} |",
        trial.connectors.len(),
        processes.len(),
        memory(|it| it.pss),
        memory(|it| it.private_dirty),
        counts(|it| it.files),
        counts(|it| it.threads),
    );
}

fn machine(text: &mut String, trials: &[Trial]) {
    text.push_str(
        "\n## All together\n\nMemory in MiB. \"Machine\" is what the whole machine had less than before the cluster was there, what the broker needs for the connections and what the kernel needs included. \
         Cores are what is used while nothing is to be done.\n\n\
         | connectors | active | standby | members | machine | cores: members | active | standby |\n|---|---|---|---|---|---|---|---|\n",
    );
    for trial in trials {
        let [members, active, standby] = trial.idle;
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {members:.2} | {active:.2} | {standby:.2} |",
            trial.connectors.len(),
            mib(sum(&trial.active_processes)),
            mib(sum(&trial.standby_processes)),
            mib(sum(&trial.members)),
            mib(trial.machine),
        );
    }
}

pub fn raw(trials: &[Trial], failover_ms: u64) -> Value {
    let time = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
    let group = |processes: &[Process]| -> Value {
        let groups = grouped(processes).into_iter().map(|(kind, processes)| {
            let kind = if kind.is_empty() { "member" } else { kind };
            let figures = json!({
                "n": processes.len(),
                "pss_kib": spread(&processes, |it| it.pss),
                "pss_sum_kib": sum(&processes),
                "private_dirty_kib": spread(&processes, |it| it.private_dirty),
                "files": spread(&processes, |it| it.files),
                "threads": spread(&processes, |it| it.threads),
            });
            (kind.to_owned(), figures)
        });
        Value::Object(groups.collect())
    };
    let trials = trials.iter().map(|trial| {
        let kinds = trial.round.last_by_kind().into_iter();
        let kinds: BTreeMap<_, _> = kinds.map(|(kind, at)| (kind, time(at))).collect();
        json!({
            "connectors": mix::by_kind(&trial.connectors), "applied_ms": time(trial.applied),
            "active_ms": time(trial.active), "standing_ms": time(trial.standing),
            "first_round_ms": time(trial.first_round.last()), "reign_ms": time(trial.reign),
            "all_active_ms": time(trial.all_active), "first_message_ms": time(trial.round.first()),
            "last_message_ms": time(trial.round.last()), "last_message_by_kind_ms": kinds,
            "story": trial.story, "terms": trial.terms, "machine_kib": trial.machine,
            "idle_cores": trial.idle, "active": group(&trial.active_processes),
            "standby": group(&trial.standby_processes), "members": group(&trial.members),
            "findings": trial.findings,
        })
    });
    json!({"failover_ms": failover_ms, "standby_max": STANDBY_MAX, "trials": trials.collect::<Vec<_>>()})
}
