//! The tables beside those of others, and texts there and back.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use super::*;

const PAGES: [i32; 21] = [
    37, 273, 277, 278, 280, 284, 285, 297, 500, 871, 1047, 1140, 1141, 1142, 1143, 1144, 1145,
    1146, 1147, 1148, 1149,
];

/// Every byte through a program that writes UTF-8; `None` where it isn't or can't.
fn by(program: &str, args: &[&str]) -> Option<Vec<char>> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let all: Vec<u8> = (0..=255).collect();
    child.stdin.take()?.write_all(&all).ok()?;
    let output = child.wait_with_output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let characters: Vec<char> = text.chars().collect();
    (characters.len() == 256).then_some(characters)
}

/// Compares a page with what others have, but for what is known to be otherwise there.
fn compare(ccsid: i32, theirs: &[char]) {
    let known = |byte: usize| {
        matches!(
            (ccsid, byte),
            (273, 0xbc) | (278, 0x71 | 0xe0) | (285, 0xa1) | (871, 0x4a | 0xc0)
        )
    };
    for (byte, (ours, theirs)) in page(ccsid).unwrap().iter().zip(theirs).enumerate() {
        let same = ours == theirs;
        assert!(
            same || known(byte),
            "{ccsid} {byte:#04x}: {ours:?} {theirs:?}"
        );
    }
}

#[test]
fn the_tables_are_those_of_glibc() {
    let mut compared = 0;
    for ccsid in PAGES {
        let name = format!("IBM{ccsid:03}");
        let Some(theirs) = by("iconv", &["-f", &name, "-t", "UTF-8"]) else {
            println!("skipped: iconv doesn't know {name} here");
            continue;
        };
        compared += 1;
        compare(ccsid, &theirs);
    }
    println!("{compared} of {} code pages were compared", PAGES.len());
}

#[test]
fn the_tables_are_those_of_python() {
    let read = "import sys; b = sys.stdin.buffer.read(); sys.stdout.buffer.write(b.decode(sys.argv[1]).encode())";
    for (ccsid, name) in [
        (37, "cp037"),
        (273, "cp273"),
        (500, "cp500"),
        (1140, "cp1140"),
    ] {
        let Some(theirs) = by("python3", &["-c", read, name]) else {
            println!("skipped: python3 doesn't know {name} here");
            continue;
        };
        compare(ccsid, &theirs);
    }
}

#[test]
fn every_page_has_every_character_once() {
    for ccsid in PAGES {
        let mut characters = page(ccsid).unwrap();
        characters.sort_unstable();
        assert!(
            characters.windows(2).all(|pair| pair[0] < pair[1]),
            "{ccsid}"
        );
    }
    for other in [0, 38, 367, 819, 930, 1208, 1150] {
        assert_eq!(decode(b"", other), None, "{other}");
    }
}

#[test]
fn texts_go_there_and_back() {
    for ccsid in PAGES {
        let bytes = encode("Grüße, 1 + 1 = 2\n", ccsid).unwrap().unwrap();
        assert_eq!(
            decode(&bytes, ccsid).unwrap(),
            "Grüße, 1 + 1 = 2\n",
            "{ccsid}"
        );
    }
    assert_eq!(encode("A1\n", 500), Some(Ok(vec![0xc1, 0xf1, 0x25])));
    assert_eq!(decode(b"\xc1\x15\xc2\x25", 1047).unwrap(), "A\nB\n");
    assert_eq!(encode("5 €", 1148), Some(Ok(vec![0xf5, 0x40, 0x9f])));
    assert_eq!(encode("5 €", 500), Some(Err('€')));
    assert_eq!(
        encode("‾", 273),
        Some(Ok(vec![0xbc])),
        "an overline is a macron"
    );
    assert_eq!(encode("łódź", 500), Some(Err('ł')));
}
