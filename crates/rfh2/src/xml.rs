//! Subset of XML that folders are made of: elements, attributes, text and entities. Neither IBM's
//! products nor JMS write comments, CDATA or processing instructions there.

use crate::{FolderElement, Rfh2Error, limits};

/// Reads the elements of a folder's text; usually there is one.
pub(crate) fn read(text: &str) -> Result<Vec<FolderElement>, Rfh2Error> {
    // Padded with blanks; some programs pad with zeros.
    let text = text.trim_end_matches(['\0', ' ', '\t', '\r', '\n']);
    let mut reader = FolderReader {
        text,
        at: 0,
        elements: 0,
    };
    let mut roots = Vec::new();
    loop {
        reader.blanks();
        if reader.at == text.len() {
            return Ok(roots);
        }
        roots.push(reader.element(1)?);
    }
}

struct FolderReader<'a> {
    text: &'a str,
    at: usize,
    elements: usize,
}

impl<'a> FolderReader<'a> {
    fn wrong<T>(&self, what: &'static str) -> Result<T, Rfh2Error> {
        Err(Rfh2Error::Xml {
            folder: self.text.chars().take(24).collect(),
            at: self.at,
            what,
        })
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn takes(&mut self, token: &str) -> bool {
        let there = self.rest().starts_with(token);
        if there {
            self.at += token.len();
        }
        there
    }

    fn blanks(&mut self) {
        let rest = self.rest();
        let trimmed = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        self.at += rest.len() - trimmed.len();
    }

    /// Returns the text before the first of these characters, one of which must come.
    fn until(&mut self, stops: &[char]) -> Result<&'a str, Rfh2Error> {
        match self.rest().find(stops) {
            Some(length) => {
                let part = &self.rest()[..length];
                self.at += length;
                Ok(part)
            }
            None => self.wrong("it ends too early"),
        }
    }

    fn name(&mut self) -> Result<&'a str, Rfh2Error> {
        let name = self.until(&[' ', '\t', '\r', '\n', '/', '>', '<', '=', '&', '"', '\''])?;
        if name.is_empty() || name.starts_with(['!', '?']) {
            return self.wrong("a name must stand here");
        }
        Ok(name)
    }

    fn element(&mut self, depth: usize) -> Result<FolderElement, Rfh2Error> {
        self.elements += 1;
        if self.elements > limits::ELEMENTS_MAX {
            return Err(Rfh2Error::TooMany("20,000 elements in a folder"));
        }
        if depth > limits::DEPTH_MAX {
            return Err(Rfh2Error::TooMany("16 elements inside of each other"));
        }
        if !self.takes("<") {
            return self.wrong("an element must begin here");
        }
        let name = self.name()?;
        let mut element = FolderElement {
            name: name.to_owned(),
            ..FolderElement::default()
        };
        if self.attributes(&mut element)? {
            return Ok(element);
        }
        loop {
            let raw = self.until(&['<'])?;
            if self.takes("</") {
                if element.children.is_empty() {
                    element.text = self.unescaped(raw)?;
                } else if !raw.trim().is_empty() {
                    return self.wrong("text and elements are mixed");
                }
                if self.name()? != name {
                    return self.wrong("another element ends than the one that began");
                }
                self.blanks();
                if !self.takes(">") {
                    return self.wrong("a > must stand here");
                }
                return Ok(element);
            }
            if !raw.trim().is_empty() {
                return self.wrong("text and elements are mixed");
            }
            element.children.push(self.element(depth + 1)?);
        }
    }

    /// Reads up to the end of the tag; returns true if that was the end of the element too.
    fn attributes(&mut self, element: &mut FolderElement) -> Result<bool, Rfh2Error> {
        for _ in 0..=limits::ATTRIBUTES_MAX {
            self.blanks();
            if self.takes("/>") {
                return Ok(true);
            }
            if self.takes(">") {
                return Ok(false);
            }
            let name = self.name()?;
            self.blanks();
            if !self.takes("=") {
                return self.wrong("a = must stand after an attribute's name");
            }
            self.blanks();
            let quote = match self.rest().chars().next() {
                Some(quote @ ('"' | '\'')) => quote,
                _ => return self.wrong("an attribute's value must stand in quotes"),
            };
            self.at += 1;
            let raw = self.until(&[quote])?;
            self.at += 1;
            let value = self.unescaped(raw)?;
            match name {
                "dt" => element.kind = Some(value),
                "xsi:nil" => element.nil = matches!(value.as_str(), "true" | "1"),
                _ => {}
            }
        }
        Err(Rfh2Error::TooMany("16 attributes of an element"))
    }

    fn unescaped(&self, raw: &str) -> Result<String, Rfh2Error> {
        let mut text = String::with_capacity(raw.len());
        let mut rest = raw;
        while let Some(at) = rest.find('&') {
            text.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            let Some((entity, after)) = rest.split_once(';') else {
                return self.wrong("an & without its ;");
            };
            let character = match entity {
                "amp" => Some('&'),
                "lt" => Some('<'),
                "gt" => Some('>'),
                "quot" => Some('"'),
                "apos" => Some('\''),
                _ => entity.strip_prefix('#').and_then(numbered),
            };
            match character {
                Some(character) => text.push(character),
                None => return self.wrong("an unknown entity"),
            }
            rest = after;
        }
        text.push_str(rest);
        Ok(text)
    }
}

fn numbered(number: &str) -> Option<char> {
    let code = match number.strip_prefix(['x', 'X']) {
        Some(digits) => u32::from_str_radix(digits, 16).ok()?,
        None => number.parse().ok()?,
    };
    char::from_u32(code).filter(|it| carried(*it))
}

/// Returns true if XML 1.0 has this character.
fn carried(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// Writes an element.
pub(crate) fn write(element: &FolderElement, to: &mut String) -> Result<(), Rfh2Error> {
    let FolderElement {
        name,
        kind,
        nil,
        text,
        children,
    } = element;
    let named = |name: &str| {
        let mut characters = name.chars();
        let first = characters.next();
        first.is_some_and(|it| it.is_alphabetic() || it == '_')
            && characters.all(|it| it.is_alphanumeric() || matches!(it, '_' | '.' | '-' | ':'))
    };
    if !named(name) {
        return Err(Rfh2Error::Name(name.clone()));
    }
    to.push('<');
    to.push_str(name);
    if let Some(kind) = kind {
        to.push_str(" dt='");
        escape(name, kind, to)?;
        to.push('\'');
    }
    if *nil {
        to.push_str(" xsi:nil='true'");
    }
    to.push('>');
    if children.is_empty() {
        escape(name, text, to)?;
    }
    for child in children {
        write(child, to)?;
    }
    to.push_str("</");
    to.push_str(name);
    to.push('>');
    Ok(())
}

fn escape(name: &str, text: &str, to: &mut String) -> Result<(), Rfh2Error> {
    for character in text.chars() {
        match character {
            '&' => to.push_str("&amp;"),
            '<' => to.push_str("&lt;"),
            '>' => to.push_str("&gt;"),
            '"' => to.push_str("&quot;"),
            '\'' => to.push_str("&apos;"),
            // As itself it would come back as a line feed.
            '\r' => to.push_str("&#13;"),
            it if carried(it) => to.push(it),
            _ => return Err(Rfh2Error::Character(name.to_owned())),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Result<FolderElement, Rfh2Error> {
        read(text).map(|mut roots| roots.remove(0))
    }

    #[test]
    fn folders_written_by_ibm_are_read() {
        let folder = one("<usr><n dt='i4'>7</n><s dt=\"string\">a &lt; b &#x26; c</s><e/><nil xsi:nil=\"true\"></nil></usr>  \0\0").unwrap();
        assert_eq!(folder.get("n"), Some("7"));
        assert_eq!(folder.get("s"), Some("a < b & c"));
        assert_eq!(folder.get("e"), Some(""));
        assert_eq!(folder.get("nil"), None);
        assert_eq!(folder.children[0].kind.as_deref(), Some("i4"));
    }

    #[test]
    fn invalid_folder_error_has_the_place() {
        for text in [
            "usr",
            "<usr>",
            "<usr></jms>",
            "<usr>text<a>1</a></usr>",
            "<usr><a>1</a>text</usr>",
            "<usr>&nbsp;</usr>",
            "<usr>&amp</usr>",
            "<usr>&#0;</usr>",
            "<usr>&#xd800;</usr>",
            "<usr a></usr>",
            "<usr a=1></usr>",
            "<usr a='1></usr>",
            "<!-- no -->",
            "<?xml version='1.0'?><usr/>",
            "< usr/>",
            "<usr",
        ] {
            assert!(matches!(read(text), Err(Rfh2Error::Xml { .. })), "{text}");
        }
        assert_eq!(
            read("<usr><a>1</usr>").unwrap_err().to_string(),
            "at byte 14 of the folder \"<usr><a>1</usr>\": another element ends than the one that began"
        );
    }

    #[test]
    fn oversized_folders_are_refused() {
        let deep = "<a>".repeat(limits::DEPTH_MAX + 1);
        assert!(matches!(read(&deep), Err(Rfh2Error::TooMany(_))));
        let many = format!("<a>{}</a>", "<b/>".repeat(limits::ELEMENTS_MAX));
        assert!(matches!(read(&many), Err(Rfh2Error::TooMany(_))));
        let wide = format!("<a {}/>", "b='1' ".repeat(limits::ATTRIBUTES_MAX + 1));
        assert!(matches!(read(&wide), Err(Rfh2Error::TooMany(_))));
    }
}
