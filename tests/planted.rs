//! The program that is shipped and run has no planted bug in it: not one of their names, nor
//! that of the variable that asks for one. (`make mutants` shows that the program which has
//! them tells all of them.)
#![cfg(not(feature = "mutants"))]

use std::fs;

use quorate_planted::Mutant;

/// Which of these words are somewhere in the bytes.
fn found<'a>(bytes: &[u8], words: &[&'a str]) -> Vec<&'a str> {
    let mut by_first: [Vec<&str>; 256] = std::array::from_fn(|_| Vec::new());
    for word in words {
        by_first[usize::from(word.as_bytes()[0])].push(word);
    }
    let mut found = Vec::new();
    for (at, byte) in bytes.iter().enumerate() {
        let begin = by_first[usize::from(*byte)].iter();
        found.extend(begin.filter(|word| bytes[at..].starts_with(word.as_bytes())));
    }
    found
}

#[test]
fn the_program_has_no_planted_bug() {
    let mut words: Vec<&str> = Mutant::ALL.iter().map(|mutant| mutant.name()).collect();
    words.push("QUORATE_MUTANT");
    let program = fs::read(env!("CARGO_BIN_EXE_quorate")).unwrap();
    assert_eq!(found(&program, &words), Vec::<&str>::new());
    // A word that is in it is found, and so are these where they are: in this test.
    assert!(!found(&program, &["failover_ms"]).is_empty());
    let test = fs::read(std::env::current_exe().unwrap()).unwrap();
    let here = found(&test, &words);
    assert!(words.iter().all(|word| here.contains(word)), "{here:?}");
}

#[test]
fn nothing_is_planted() {
    for mutant in Mutant::ALL {
        assert!(!quorate_planted::planted(*mutant), "{mutant}");
    }
}
