//! The output on stdout: tables for people, JSON for programs. Everything else goes to stderr.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::error::CliError;

/// The form of what is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// Writes bytes to stdout. A reader that has gone away (`| head`) is no error.
pub fn bytes(data: &[u8]) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    match out.write_all(data).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CliError::Refused(format!("can't write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes one of many lines to stdout; returns whether the output is still read.
pub fn streamed(text: &str) -> Result<bool, CliError> {
    let mut out = io::stdout().lock();
    match out
        .write_all(format!("{text}\n").as_bytes())
        .and_then(|()| out.flush())
    {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(CliError::Refused(format!("can't write to stdout: {error}"))),
    }
}

/// Writes a text of one line or more to stdout.
pub fn line(text: impl AsRef<str>) -> Result<(), CliError> {
    let lines: Vec<_> = text.as_ref().split('\n').map(printable).collect();
    bytes(format!("{}\n", lines.join("\n")).as_bytes())
}

/// Returns a text of others as a terminal may be given it: what would command the terminal, or
/// change the order in which the rest is read, is escaped.
pub fn printable(text: &str) -> Cow<'_, str> {
    // Of the controls the tabulator alone does no more than it shows.
    let commands = |it: char| it.is_control() && it != '\t' || is_direction(it);
    if !text.contains(commands) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for it in text.chars() {
        if commands(it) {
            escaped.extend(it.escape_default());
        } else {
            escaped.push(it);
        }
    }
    Cow::Owned(escaped)
}

/// Returns true for marks that turn the direction of what stands behind them.
fn is_direction(it: char) -> bool {
    matches!(it, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

/// Writes a value as JSON, indented, to stdout.
pub fn json(value: &impl Serialize) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| CliError::Refused(format!("can't write JSON: {error}")))?;
    bytes(format!("{text}\n").as_bytes())
}

/// Writes a table with a header to stdout: plain columns, so that `awk` can read it too.
pub fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Result<(), CliError> {
    line(render(header, rows))
}

/// Pads columns two spaces apart; nothing is cut off.
fn render(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().map(|title| title.to_uppercase()));
    for row in rows {
        // An empty cell would shift the columns for a script that splits at spaces.
        table.add_row(row.into_iter().map(|cell| {
            if cell.is_empty() {
                "-".to_owned()
            } else {
                printable(&cell).into_owned()
            }
        }));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let text = table.to_string();
    text.lines()
        .map(str::trim_end)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Quotes a word of a command that is printed to be typed, where a shell would otherwise interpret
/// it.
pub fn quoted(word: &str) -> String {
    shlex::try_quote(word).map_or_else(|_| format!("{word:?}"), Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_a_shell_when_needed() {
        assert_eq!(quoted("q/member-1/pid"), "q/member-1/pid");
        assert_eq!(quoted("my q/it's/pid"), "\"my q/it's/pid\"");
        assert_eq!(quoted("a $b"), "'a $b'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn texts_of_others_command_no_terminal() {
        for (text, shown) in [
            ("order \u{1b}[2J\u{7}", r"order \u{1b}[2J\u{7}"),
            ("a\r\nb\u{9b}m\u{7f}", r"a\r\nb\u{9b}m\u{7f}"),
            ("a\u{202e}b", r"a\u{202e}b"),
            ("caf\u{e9}\t\u{65e5}", "caf\u{e9}\t\u{65e5}"),
        ] {
            assert_eq!(printable(text), shown, "{text:?}");
            let table = render(&["name"], [vec![text.to_owned()]]);
            assert!(
                !table.contains('\u{1b}') && table.lines().count() == 2,
                "{table:?}"
            );
        }
    }

    #[test]
    fn columns_are_two_spaces_apart_without_empty_cells() {
        let rows = vec![
            vec!["member-1".to_owned(), "0".to_owned()],
            vec!["m2".to_owned(), String::new()],
        ];
        assert_eq!(
            render(&["name", "lag"], rows),
            "NAME      LAG\nmember-1  0\nm2        -"
        );
    }
}
