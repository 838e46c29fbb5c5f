//! Ends of the members' logs, with links to the whole.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
};

use super::html::{escape, folded};

/// Bytes that are read from the end of a log.
const TAIL: u64 = 24 * 1024;
/// Lines of them that are shown.
const LINES: usize = 60;

/// The logs of all members of a run.
pub fn of_members(folder: &Path, members: u64) -> String {
    let one = |member| {
        let path = format!("members/{member}/quorate.log");
        let title = format!("member {member}: <a href=\"{path}\">{path}</a>");
        match tail(&folder.join(&path)) {
            Ok(lines) => folded(&title, &format!("<pre>{}</pre>\n", escape(&lines))),
            Err(_) => format!("<p class=\"dim\">member {member}: there is no {path}</p>\n"),
        }
    };
    (1..=members).map(one).collect()
}

fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    // The first line may have been cut.
    let from = lines
        .len()
        .saturating_sub(LINES)
        .max(usize::from(length > TAIL));
    Ok(lines.get(from..).unwrap_or_default().join("\n"))
}
