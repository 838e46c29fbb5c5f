//! The last words of a process that panics, as a process of its own.

use std::{
    fs::File,
    process::{Command, Output, Stdio},
};

use quorate_log::LogSettings;

/// Run as a process of its own by the tests below.
#[test]
#[ignore = "a helper of other tests"]
fn helper_that_panics() {
    quorate_log::start(&LogSettings::from_environment());
    for _ in 0..100 {
        let panicked = std::thread::spawn(|| panic!("no more rope")).join();
        assert!(panicked.is_err());
    }
    // As at a panic that can't unwind: nothing but the hook has had its say.
    std::process::exit(7);
}

/// The same.
#[test]
#[ignore = "a helper of other tests"]
fn helper_that_is_ended() {
    quorate_log::start(&LogSettings::from_environment());
    quorate_log::print_note("error: asked to stop\na second time");
    std::process::exit(7);
}

fn helper(name: &str, err: Stdio, settings: &LogSettings) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", name])
        .envs(settings.environment())
        .stderr(err)
        .output()
        .unwrap()
}

#[test]
fn panic_is_logged_before_process_ends() {
    let ended = helper(
        "helper_that_panics",
        Stdio::piped(),
        &LogSettings::default(),
    );
    assert_eq!(ended.status.code(), Some(7));
    let text = String::from_utf8_lossy(&ended.stderr);
    let told = text.matches("no more rope").count();
    assert!((1..10).contains(&told), "{text}");
    assert!(
        text.contains("ERROR") && text.contains("panicked at"),
        "{text}"
    );
}

// guarantee: HOST-1
#[test]
fn unwritable_panic_message_ends_nothing() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let ended = helper("helper_that_panics", full.into(), &LogSettings::default());
    assert_eq!(ended.status.code(), Some(7));
}

#[test]
fn child_process_logs_with_the_parents_settings() {
    let settings = LogSettings {
        level: "error".to_owned(),
        format: quorate_log::LogFormat::Json,
    };
    let ended = helper("helper_that_panics", Stdio::piped(), &settings);
    let text = String::from_utf8_lossy(&ended.stderr);
    assert!(
        text.starts_with("{\"") && text.contains("\"level\":\"ERROR\""),
        "{text}"
    );
}

#[test]
fn the_last_word_is_in_the_logs_format() {
    let ended = |format| {
        let settings = LogSettings {
            format,
            ..LogSettings::default()
        };
        let ended = helper("helper_that_is_ended", Stdio::piped(), &settings);
        assert_eq!(ended.status.code(), Some(7));
        String::from_utf8_lossy(&ended.stderr).into_owned()
    };
    let text = ended(quorate_log::LogFormat::Text);
    assert_eq!(text, "error: asked to stop\na second time\n");
    let json = ended(quorate_log::LogFormat::Json);
    assert_eq!(json.lines().count(), 1, "{json}");
    let said = "\"message\":\"error: asked to stop\\na second time\"";
    assert!(
        json.starts_with('{') && json.contains("\"level\":\"ERROR\"") && json.contains(said),
        "{json}"
    );
}
