//! Folders of runs, judged as a whole: the verdict, the page, and the summary over many.

use std::{fs, path::Path};

use crate::{
    run_fixture::MS,
    simulator::{SimulatedBug, SimulatorSettings, history},
};
use quorate_jepsen::{
    checker::CheckSettings,
    history::{
        FaultRecord, FinalMember, FinalState, HistoryEvent, HostSample, HostSamples,
        ReignObservation, SinkCall,
    },
    judge::{judge, judge_with},
    outcome::RunOutcome,
    record_file::write_line,
    report::{self, summary},
    verdict::RunVerdict,
};
use serde_json::json;

fn lines<T: serde::Serialize>(path: &Path, lines: &[T]) {
    let mut file = fs::File::create(path).expect("a file is made");
    for line in lines {
        write_line(&mut file, line).expect("a line is written");
    }
}

/// Writes the folder of a simulated run.
pub fn folder(path: &Path, operations: usize, bug: SimulatedBug) {
    let world = SimulatorSettings {
        seed: 11,
        operations,
        clients: 9,
        operations_a_key: 200,
        bug,
    };
    let events: Vec<HistoryEvent> = history(&world);
    let end = events.last().map_or(0, |it| it.time);
    fs::create_dir_all(path.join("members/1")).expect("folders are made");
    let log = "2026 ERROR <script>alert(1)</script> & more \u{1b}[31mred\u{1b}[0m\n";
    fs::write(path.join("members/1/quorate.log"), log).expect("a log is written");
    let plan = json!({
        "workload": "register", "seed": 11, "members": 3, "failover_ms": 500, "clients": 9,
        "network": "netns", "nemeses": ["kill-leader", "pause-leader"], "mutant": "<b>x</b>",
        "command": "quorate-jepsen run --seed 11 --workload register", "steps": [],
    });
    fs::write(path.join("plan.json"), plan.to_string()).expect("a plan is written");
    let fault = |nemesis: &str, n: u64| FaultRecord {
        nemesis: nemesis.to_owned(),
        target: "the leader <1>".to_owned(),
        members: vec![1],
        begun: end * n / 10,
        effective: Some(end * n / 10 + 5 * MS),
        probe: "it doesn't answer".to_owned(),
        healing: Some(end * n / 10 + end / 12),
        healed: Some(end * n / 10 + end / 11),
    };
    let faults: Vec<FaultRecord> = [2, 4, 6, 8].map(|n| fault("kill-leader", n)).to_vec();
    lines(&path.join("faults.jsonl"), &faults);
    write_reigns(path, end);
    write_end(path, end);
    lines(&path.join("history.jsonl"), &events);
}

/// Writes three leaders after each other, and the calls under their epochs.
fn write_reigns(path: &Path, end: u64) {
    let observations: Vec<ReignObservation> = (0..600_u64)
        .map(|n| ReignObservation {
            asked: end * n / 600,
            time: end * n / 600 + 1,
            member: n % 3 + 1,
            leader: Some(n / 200 + 1),
            leader_id: Some(n / 200 + 1),
            term: Some(n / 200 + 1),
            connector_server: Some(n / 200 + 1),
            epoch: Some(n / 200 * 10 + 5),
        })
        .collect();
    lines(&path.join("reigns.jsonl"), &observations);
    let calls: Vec<SinkCall> = (0..300_u64)
        .map(|n| SinkCall {
            begun: end * n / 300,
            ended: end * n / 300 + 1,
            connector: "amqp_channel/checks".to_owned(),
            epoch: n / 100 * 10 + 5,
            message: format!("m{n}"),
            attempt: 1,
            accepted: n % 50 != 49,
        })
        .collect();
    lines(&path.join("connectors.jsonl"), &calls);
}

/// Writes three members that are well, and a machine that was hardly late.
fn write_end(path: &Path, end: u64) {
    let members = [1, 2, 3].map(|member| FinalMember {
        member,
        alive: true,
        hash: Some("h".to_owned()),
        applied: Some(1),
        ..FinalMember::default()
    });
    let ending = FinalState {
        members: members.to_vec(),
        healed: Some(end),
        writable: Some(end + MS),
        ..FinalState::default()
    };
    let text = serde_json::to_string(&ending).expect("it can be written");
    fs::write(path.join("final.json"), text).expect("the end is written");
    let samples = (0..200_u64).map(|n| HostSample {
        time: end * n / 200,
        steal: 1.0,
        run_queue: 1.0,
        lag_ms: (n % 7) as f64,
    });
    let host = HostSamples {
        samples: samples.collect(),
    };
    let text = serde_json::to_string(&host).expect("it can be written");
    fs::write(path.join("host.json"), text).expect("the machine is written");
}

/// Asserts that every tag is closed, in order. The pages are written so that XML's rules hold for
/// them.
fn well_formed(page: &str) {
    let body = page.split_once("<html").expect("a page").1;
    let style = body.find("<style>").expect("a style")..body.find("</style>").expect("its end");
    let body = format!("<html{}{}", &body[..style.start + 7], &body[style.end..]);
    let mut open: Vec<&str> = Vec::new();
    let mut rest = body.as_str();
    while let Some(at) = rest.find('<') {
        let end = rest[at..].find('>').expect("a tag ends") + at;
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(
                open.pop(),
                Some(name),
                "before {:?}",
                &rest[..rest.len().min(80)]
            );
        } else if !tag.ends_with('/') {
            open.push(tag.split_whitespace().next().unwrap_or_default());
        }
    }
    assert_eq!(open, [""; 0]);
}

#[test]
fn page_stands_by_itself_and_is_small() {
    let temporary = tempfile::tempdir().expect("a folder");
    let run = temporary.path().join("run");
    folder(&run, 20_000, SimulatedBug::StaleReads(0.002));
    let verdict = judge(&run).expect("it is judged");
    assert_eq!(verdict.outcome, RunOutcome::Fail);
    assert_eq!(RunVerdict::read(&run).expect("it was written"), verdict);
    let page = fs::read_to_string(run.join(report::FILE)).expect("a page was written");
    well_formed(&page);
    for alien in ["<script", "http:", "https:", "url(", "@import", "\u{1b}"] {
        assert!(!page.contains(alien), "the page has {alien:?}");
    }
    for there in [
        "FAIL",
        "stale read",
        "quorate-jepsen run --seed 11",
        "members/1/quorate.log",
        "&lt;script&gt;",
        "&lt;b&gt;x",
        "class=\"fault\"",
        "Made as small as can be",
    ] {
        assert!(page.contains(there), "the page lacks {there:?}");
    }
    assert!(page.len() < 3_000_000, "the page has {} bytes", page.len());
    println!("{} bytes", page.len());
}

#[test]
fn judging_again_gives_the_same() {
    let temporary = tempfile::tempdir().expect("a folder");
    let run = temporary.path().join("run");
    folder(&run, 600, SimulatedBug::LostWrites(0.05));
    let first = judge(&run).expect("it is judged");
    assert_eq!(judge(&run).expect("it is judged"), first);
    let fine = temporary.path().join("fine");
    folder(&fine, 600, SimulatedBug::None);
    let judged = judge(&fine).expect("it is judged");
    assert_eq!(judged.outcome, RunOutcome::Pass, "{:?}", judged.findings);
    let settings = CheckSettings {
        ignore_infos: true,
        ..CheckSettings::default()
    };
    let false_verdict = judge_with(&fine, &settings).expect("it is judged");
    assert_eq!(false_verdict.outcome, RunOutcome::Fail);
}

#[test]
fn folder_with_missing_or_broken_files_is_unknown() {
    let temporary = tempfile::tempdir().expect("a folder");
    let run = temporary.path().join("run");
    assert!(judge(&run).is_err());
    fs::create_dir(&run).expect("a folder");
    assert_eq!(
        judge(&run).expect("it is judged").outcome,
        RunOutcome::Unknown
    );
    for file in [
        "history.jsonl",
        "final.json",
        "host.json",
        "plan.json",
        "faults.jsonl",
    ] {
        folder(&run, 600, SimulatedBug::None);
        assert_eq!(judge(&run).expect("it is judged").outcome, RunOutcome::Pass);
        let bytes = fs::read(run.join(file)).expect("it is there");
        fs::write(run.join(file), &bytes[..bytes.len() - 3]).expect("it is cut");
        assert_eq!(
            judge(&run).expect("it is judged").outcome,
            RunOutcome::Unknown,
            "{file}"
        );
    }
}

#[test]
fn many_runs_are_summed_up() {
    let temporary = tempfile::tempdir().expect("a folder");
    let path = |name: &str| temporary.path().join(name);
    folder(&path("fine"), 600, SimulatedBug::None);
    folder(&path("broken"), 600, SimulatedBug::LostWrites(0.05));
    let folders = [path("fine"), path("broken"), path("missing")];
    for run in &folders[..2] {
        judge(run).expect("it is judged");
    }
    let folders: Vec<&Path> = folders.iter().map(|it| it.as_path()).collect();
    let summary = summary(&folders);
    assert_eq!(
        (
            summary.ended(RunOutcome::Pass),
            summary.ended(RunOutcome::Fail),
            summary.unread.len()
        ),
        (1, 1, 1)
    );
    assert_eq!(summary.numbers["operations"], 1_200);
    assert_eq!(summary.numbers["faults_effective.kill-leader"], 8);
    let markdown = summary.markdown();
    assert!(
        markdown.contains("| register | 2 | 1 | 1 | 0 | 0 | 1,200 | 8 |"),
        "{markdown}"
    );
    let page = summary.page(temporary.path());
    well_formed(&page);
    assert!(page.contains("href=\"broken/report.html\""));
}
