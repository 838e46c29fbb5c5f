//! A Rust file with its comments and the insides of its strings blanked out, line by line,
//! and the lines that are test code marked.

/// One file.
pub struct Source {
    /// The lines as they are written.
    pub raw: Vec<String>,
    /// The same lines, the same columns: code only.
    pub code: Vec<String>,
    /// Whether the line belongs to an inline `#[cfg(test)]` item.
    pub test: Vec<bool>,
}

impl Source {
    pub fn new(text: &str) -> Source {
        let raw: Vec<String> = text.lines().map(str::to_owned).collect();
        let code: Vec<String> = blank(text).lines().map(str::to_owned).collect();
        let test = test_lines(&code);
        Source { raw, code, test }
    }

    /// The lines of code with their numbers, tests left out.
    pub fn product(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.code.iter().zip(&self.test).enumerate();
        lines
            .filter(|(_, (_, test))| !**test)
            .map(|(n, (line, _))| (n + 1, line.as_str()))
    }
}

/// Replaces everything in comments and string literals by blanks; quotes stay.
fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    let at_is = |at: usize, what: &str| {
        what.chars()
            .enumerate()
            .all(|(n, c)| chars.get(at + n) == Some(&c))
    };
    while at < chars.len() {
        let end = if at_is(at, "//") {
            (at..chars.len())
                .find(|n| chars[*n] == '\n')
                .unwrap_or(chars.len())
        } else if at_is(at, "/*") {
            (at + 2..chars.len())
                .find(|n| at_is(*n, "*/"))
                .map_or(chars.len(), |n| n + 2)
        } else if let Some(hashes) = raw_string(&chars, at) {
            let close = format!("\"{}", "#".repeat(hashes));
            let open = at + 2 + hashes;
            (open..chars.len())
                .find(|n| at_is(*n, &close))
                .map_or(chars.len(), |n| n + 1 + hashes)
        } else if chars[at] == '"' {
            string_end(&chars, at + 1)
        } else if let Some(end) = char_literal(&chars, at) {
            end
        } else {
            out.push(chars[at]);
            at += 1;
            continue;
        };
        let string = chars[at] != '/';
        for (n, c) in chars.iter().enumerate().take(end).skip(at) {
            out.push(match c {
                '\n' => '\n',
                '"' if string && (n == at || n + 1 == end) => '"',
                _ => ' ',
            });
        }
        at = end;
    }
    out
}

/// The number of `#` where a raw string begins.
fn raw_string(chars: &[char], at: usize) -> Option<usize> {
    let before = at.checked_sub(1).map(|n| chars[n]);
    // `br"..."` is met at its `r`; an identifier that ends in `r` isn't one.
    if chars[at] != 'r' || before.is_some_and(|c| c != 'b' && (c.is_alphanumeric() || c == '_')) {
        return None;
    }
    let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    (chars.get(at + 1 + hashes) == Some(&'"')).then_some(hashes)
}

fn string_end(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

/// The end of a character literal; None for a lifetime.
fn char_literal(chars: &[char], at: usize) -> Option<usize> {
    if chars[at] != '\'' {
        return None;
    }
    if chars.get(at + 1) == Some(&'\\') {
        return (at + 3..chars.len())
            .find(|n| chars[*n] == '\'')
            .map(|n| n + 1);
    }
    (chars.get(at + 2) == Some(&'\'')).then_some(at + 3)
}

/// Marks the items that follow `#[cfg(test)]`, to their closing brace or semicolon.
fn test_lines(code: &[String]) -> Vec<bool> {
    let mut test = vec![false; code.len()];
    let mut line = 0;
    while line < code.len() {
        if !code[line].trim_start().starts_with("#[cfg(test)]") {
            line += 1;
            continue;
        }
        let mut depth = 0_i32;
        let start = line;
        'item: while line < code.len() {
            test[line] = true;
            for c in code[line].chars() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    _ => {}
                }
                // An attribute ends in neither; `;` inside of braces isn't the item's.
                if depth == 0 && (c == ';' || c == '}') && (line > start || c == ';') {
                    break 'item;
                }
            }
            line += 1;
        }
        line += 1;
    }
    test
}

#[test]
fn comments_and_strings_are_blanked() {
    let text = "let a = \"x // \\\" y\"; // todo!\nlet b = 'c'; let l: &'a str = r#\"un\"wrap\"#; /* z\n z */ b()";
    let source = Source::new(text);
    assert_eq!(source.code[0].trim_end(), "let a = \"         \";");
    assert_eq!(source.code[0].len(), source.raw[0].len());
    assert!(source.code[1].contains("&'a str =") && !source.code[1].contains("wrap"));
    assert_eq!(source.code[2].trim(), "b()");
}

#[test]
fn test_items_are_marked() {
    let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n  fn b() { c(); }\n}\nfn d() {}\n#[cfg(test)] mod t;\nfn e() {}";
    let product: Vec<usize> = Source::new(text).product().map(|(n, _)| n).collect();
    assert_eq!(product, [1, 6, 8]);
}
