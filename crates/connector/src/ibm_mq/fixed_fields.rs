//! Conversion of MQ's fields of fixed length.

use libmqm_sys as mq;

/// Returns a text, cut to the field's length and padded with blanks.
pub(super) fn padded<const N: usize>(text: &str) -> [mq::MQCHAR; N] {
    let mut field = [b' ' as mq::MQCHAR; N];
    for (to, byte) in field.iter_mut().zip(text.bytes()) {
        *to = byte as mq::MQCHAR;
    }
    field
}

/// Returns a field's text, without the padding.
pub(super) fn text(field: &[mq::MQCHAR]) -> String {
    let bytes: Vec<u8> = field
        .iter()
        .map(|it| *it as u8)
        .take_while(|it| *it != 0)
        .collect();
    String::from_utf8_lossy(&bytes).trim_end().to_owned()
}

/// Returns a field's bytes.
pub(super) fn bytes<const N: usize>(field: &[mq::MQCHAR; N]) -> [u8; N] {
    field.map(|it| it as u8)
}

/// Returns an id as JMS shows it.
pub(super) fn id(bytes: &[u8; 24]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("ID:{digits}")
}

/// Returns the bytes of an id in JMS's form.
pub(super) fn id_bytes(text: &str) -> Option<[u8; 24]> {
    let digits = text.strip_prefix("ID:")?.as_bytes();
    let mut bytes = [0; 24];
    if digits.len() != 48 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |it: u8| char::from(it).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_padded_and_cut() {
        assert_eq!(text(&padded::<8>("ORDERS")), "ORDERS");
        assert_eq!(bytes(&padded::<4>("ORDERS")), *b"ORDE");
        assert_eq!(text(&[b'A' as mq::MQCHAR, 0, b'B' as mq::MQCHAR]), "A");
    }

    #[test]
    fn ids_are_shown_as_jms_shows_them() {
        let mut bytes = [0; 24];
        bytes[..4].copy_from_slice(b"AMQ ");
        bytes[23] = 0xfe;
        let shown = id(&bytes);
        assert_eq!(
            shown,
            "ID:414d51200000000000000000000000000000000000 0000fe".replace(' ', "")
        );
        assert_eq!(id_bytes(&shown), Some(bytes));
        assert_eq!(id_bytes(&shown.to_uppercase()), Some(bytes));
        for other in ["", "ID:", "order-7", &shown[..50], "ID:é"] {
            assert_eq!(id_bytes(other), None, "{other}");
        }
    }
}
