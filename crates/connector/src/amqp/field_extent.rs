//! Extent of properties and values on the wire, and whether they can be read.
//!
//! Computed without recursion, as a message may have tables in tables as deep as a frame is long,
//! and without reading any value, as it is done for every message.

/// Extent and depth of a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FieldExtent {
    /// Bytes of the value, without the one of its type.
    pub bytes: usize,
    /// Number of tables and arrays that are open at the same time.
    pub depth: usize,
}

/// Returns true if lapin can read the properties of a message, flags first: each short string is
/// UTF-8, each type is known, and they end where they should.
pub(super) fn are_readable(properties: &[u8]) -> bool {
    let Some(flags) = properties.first_chunk::<2>() else {
        return false;
    };
    let flags = u16::from_be_bytes(*flags);
    let mut at = 2;
    for bit in (2..16).rev().filter(|bit| flags & (1 << bit) != 0) {
        let left = &properties[at..];
        let bytes = match bit {
            13 => extent(b'F', left).map(|it| it.bytes),
            12 | 11 => (!left.is_empty()).then_some(1),
            6 => (left.len() >= 8).then_some(8),
            _ => short(left),
        };
        let Some(bytes) = bytes else {
            return false;
        };
        at += bytes;
    }
    at == properties.len()
}

/// Returns the extent of a value of this type; `None`: it can't be read.
pub(super) fn extent(kind: u8, bytes: &[u8]) -> Option<FieldExtent> {
    let (mut kind, mut at, mut depth) = (kind, 0_usize, 0);
    // Where the open tables and arrays end, and which are tables.
    let mut open: Vec<(usize, bool)> = Vec::new();
    loop {
        let limit = open.last().map_or(bytes.len(), |(end, _)| *end);
        let end = at.checked_add(match kind {
            b'V' => 0,
            b't' | b'b' | b'B' => 1,
            b's' | b'U' | b'u' => 2,
            b'I' | b'i' | b'f' => 4,
            b'D' => 5,
            b'L' | b'l' | b'd' | b'T' => 8,
            b'S' | b'x' | b'A' | b'F' => 4 + long(&bytes[at..])?,
            _ => return None,
        })?;
        if end > limit {
            return None;
        }
        if matches!(kind, b'A' | b'F') {
            open.push((end, kind == b'F'));
            depth = depth.max(open.len());
            at += 4;
        } else {
            at = end;
        }
        while open.last().is_some_and(|(end, _)| at == *end) {
            open.pop();
        }
        let Some((end, named)) = open.last() else {
            return Some(FieldExtent { bytes: at, depth });
        };
        if *named {
            at += short(&bytes[at..*end])?;
        }
        kind = *bytes[..*end].get(at)?;
        at += 1;
    }
}

/// Returns the bytes of a short string in UTF-8, its length among them.
fn short(bytes: &[u8]) -> Option<usize> {
    let (length, rest) = bytes.split_first()?;
    let text = rest.get(..usize::from(*length))?;
    std::str::from_utf8(text).ok()?;
    Some(1 + text.len())
}

fn long(bytes: &[u8]) -> Option<usize> {
    usize::try_from(u32::from_be_bytes(*bytes.first_chunk::<4>()?)).ok()
}

#[cfg(test)]
mod tests {
    use lapin::{
        protocol::basic::{gen_properties, parse_properties},
        types::{AMQPValue, DecimalValue, FieldArray, FieldTable},
    };

    use super::*;

    fn table(entries: &[(&str, AMQPValue)]) -> FieldTable {
        let mut table = FieldTable::default();
        for (name, value) in entries {
            table.insert((*name).into(), value.clone());
        }
        table
    }

    /// Tests all that lapin writes, and then with each byte of it another one: the result must be
    /// as lapin reads it.
    #[test]
    fn readable_fields_are_those_lapin_reads() {
        let decimal = DecimalValue { scale: 2, value: 1 };
        let array = FieldArray::from(vec![AMQPValue::Void, AMQPValue::Boolean(true)]);
        let inner = table(&[("ü", AMQPValue::FieldArray(array))]);
        let headers = table(&[
            ("a", AMQPValue::LongString("text".into())),
            ("b", AMQPValue::DecimalValue(decimal)),
            ("c", AMQPValue::FieldTable(inner)),
            ("d", AMQPValue::LongLongInt(7)),
            ("e", AMQPValue::ByteArray(vec![0xff].into())),
        ]);
        let properties = lapin::BasicProperties::default()
            .with_content_type("text/plain".into())
            .with_headers(headers)
            .with_delivery_mode(2)
            .with_correlation_id("grün".into())
            .with_timestamp(9)
            .with_app_id("a".into());
        let mut bytes = vec![0; 4096];
        let written = gen_properties(&properties)(bytes.as_mut_slice().into()).unwrap();
        let length = usize::try_from(written.into_inner().1).unwrap();
        bytes.truncate(length);
        assert!(are_readable(&bytes));
        let reads =
            |bytes: &[u8]| matches!(parse_properties(bytes), Ok((rest, _)) if rest.is_empty());
        assert!(reads(&bytes));
        for at in 2..bytes.len() {
            for other in [0, 1, 0x7f, 0x80, 0xff, b'F', b'A', b'?', b'S'] {
                let mut changed = bytes.clone();
                changed[at] = other;
                assert_eq!(
                    are_readable(&changed),
                    reads(&changed),
                    "byte {at}: {other}"
                );
            }
            assert_eq!(
                are_readable(&bytes[..at]),
                reads(&bytes[..at]),
                "{at} bytes"
            );
        }
    }

    #[test]
    fn tables_in_tables_take_no_stack() {
        let mut array: Vec<u8> = Vec::new();
        for _ in 0..26_000 {
            let size = u32::try_from(array.len()).unwrap().to_be_bytes();
            array = [b"A", &size[..], &array].concat();
        }
        let depth = extent(b'A', &array[1..]).unwrap().depth;
        assert_eq!(depth, 26_000);
    }
}
