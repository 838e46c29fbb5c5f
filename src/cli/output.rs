//! The output on stdout: tables for people, JSON for programs. Everything else goes to stderr.

use std::io::{self, Write};

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

/// Writes a line to stdout.
pub fn line(text: impl AsRef<str>) -> Result<(), CliError> {
    bytes(format!("{}\n", text.as_ref()).as_bytes())
}

/// Writes a value as JSON, indented, to stdout.
pub fn json(value: &impl Serialize) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| CliError::Refused(format!("can't write JSON: {error}")))?;
    line(text)
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
                cell
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
