//! The parser of server-sent events, fed with the bytes of a stream piece by piece.

/// No event is longer: the longest holds one value of 1 MiB in base64.
const EVENT_BYTES_MAX: usize = 4 << 20;

/// Reason why the bytes are not server-sent events.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SseError {
    #[error("it is not UTF-8")]
    NotUtf8,
    #[error("an event has more than {0} bytes")]
    TooLong(usize),
}

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SseEvent {
    /// The `id:`, if there was one.
    pub id: Option<String>,
    /// The `event:`; empty for a plain message.
    pub name: String,
    /// The `data:`; empty where only the id moves on.
    pub data: String,
}

/// The part of an event that has come so far.
#[derive(Debug, Default)]
pub(super) struct SseParser {
    line: Vec<u8>,
    event: SseEvent,
}

impl SseParser {
    /// Takes a piece of the stream and returns the events that it completes.
    pub(super) fn take(&mut self, piece: &[u8]) -> Result<Vec<SseEvent>, SseError> {
        let mut whole = Vec::new();
        let mut rest = piece;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.line.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            let line = std::mem::take(&mut self.line);
            let line = line.strip_suffix(b"\r").unwrap_or(&line);
            let line = std::str::from_utf8(line).map_err(|_| SseError::NotUtf8)?;
            match line {
                "" => whole.push(std::mem::take(&mut self.event)),
                line => self.field(line),
            }
            self.bounded()?;
        }
        self.line.extend_from_slice(rest);
        self.bounded()?;
        // blocks of comments alone are no events
        whole.retain(|event| *event != SseEvent::default());
        Ok(whole)
    }

    fn field(&mut self, line: &str) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "id" => self.event.id = Some(value.into()),
            "event" => self.event.name = value.into(),
            "data" => {
                if !self.event.data.is_empty() {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            // comments have no name; the rest is for browsers
            _ => {}
        }
    }

    fn bounded(&self) -> Result<(), SseError> {
        match self.line.len() + self.event.data.len() {
            long if long > EVENT_BYTES_MAX => Err(SseError::TooLong(long)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_the_same_however_they_are_cut() {
        let text = "retry: 500\nid: 4\nevent: watching\ndata: {}\n\n: alive\n\n\
                    id:5\r\ndata: a\r\ndata:b\r\n\r\nid: 6\n\nwhatever: x\ndata: \u{e9}\n\ndata: unfinished";
        let event = |id: Option<&str>, name: &str, data: &str| SseEvent {
            id: id.map(str::to_owned),
            name: name.into(),
            data: data.into(),
        };
        let expected = [
            event(Some("4"), "watching", "{}"),
            event(Some("5"), "", "a\nb"),
            event(Some("6"), "", ""),
            event(None, "", "\u{e9}"),
        ];
        for size in 1..text.len() {
            let mut events = SseParser::default();
            let pieces = text.as_bytes().chunks(size);
            let found: Vec<_> = pieces.flat_map(|it| events.take(it).unwrap()).collect();
            assert_eq!(found, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn endless_event_is_refused() {
        let mut events = SseParser::default();
        let piece = vec![b'x'; EVENT_BYTES_MAX];
        assert!(events.take(&piece).is_ok());
        assert!(events.take(&piece).is_err());
    }
}
