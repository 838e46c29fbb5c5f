//! kill -9 while entries are appended: what was acknowledged is there afterwards.

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Command as Process, Stdio},
};

use super::*;

const FOLDER: &str = "QUORATE_TEST_FOLDER";
const SAID: &str = "acknowledged ";

/// Not a test by itself: the process that is killed in the one below.
#[tokio::test]
#[ignore = "run by another test"]
async fn helper_appends_until_killed() {
    let Ok(dir) = env::var(FOLDER) else { return };
    let mut opened = open_new(Path::new(&dir));
    save_vote(&mut opened.log, 1).await;
    for index in 0..1_000_000 {
        append(&mut opened.log, commands(1, index..index + 1)).await;
        println!("\n{SAID}{index}");
    }
}

// guarantee: DATA-1
#[tokio::test]
async fn nothing_acknowledged_is_lost_by_a_kill() {
    for lines in [1, 40, 400] {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Process::new(env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture"])
            .arg("storage::tests::kill::helper_appends_until_killed")
            .env(FOLDER, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut said = said.map_while(Result::ok).filter_map(|line| {
            let index = line.strip_prefix(SAID)?;
            Some(index.parse::<u64>().unwrap())
        });
        let mut last = said.nth(lines - 1).expect("it appends");
        child.kill().unwrap();
        last = said.last().unwrap_or(last);
        child.wait().unwrap();

        let opened = open(dir.path()).unwrap();
        let kept = entries(&opened.log, ..);
        assert!(
            kept.len() as u64 > last,
            "{last} was acknowledged, {} are kept",
            kept.len()
        );
        assert_eq!(kept, commands(1, 0..kept.len() as u64));
    }
}
