//! Header values as text, and back.
//!
//! Each type of AMQP but text has a name, which travels beside the value; tables and arrays are
//! JSON, in which whole numbers come back as `long`, others as `double`, decimals, times and bytes
//! as text or number.

use std::str::FromStr;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use lapin::types::{AMQPValue, DecimalValue, FieldArray, FieldTable, ShortString};
use serde_json::{Map, Number, Value};

/// Depth to which tables in tables are converted.
pub(super) const DEPTH: usize = 32;

/// Names of the types.
const TYPES: &str = "boolean, byte, ubyte, short, ushort, int, uint, long, float, double, decimal, timestamp, bytes, table, array, void, text and percent";

/// Returns a value as text, and the name of its type, which is empty for text. `None`: the value is
/// too deep.
pub(super) fn to_text(value: &AMQPValue) -> Option<(Bytes, &'static str)> {
    let (text, kind) = match value {
        AMQPValue::LongString(text) => return Some((text.as_bytes().to_vec().into(), "")),
        AMQPValue::ShortString(text) => return Some((text.to_string().into(), "")),
        AMQPValue::ByteArray(bytes) => return Some((bytes.as_slice().to_vec().into(), "bytes")),
        AMQPValue::Boolean(it) => (it.to_string(), "boolean"),
        AMQPValue::ShortShortInt(n) => (n.to_string(), "byte"),
        AMQPValue::ShortShortUInt(n) => (n.to_string(), "ubyte"),
        AMQPValue::ShortInt(n) => (n.to_string(), "short"),
        AMQPValue::ShortUInt(n) => (n.to_string(), "ushort"),
        AMQPValue::LongInt(n) => (n.to_string(), "int"),
        AMQPValue::LongUInt(n) => (n.to_string(), "uint"),
        AMQPValue::LongLongInt(n) => (n.to_string(), "long"),
        AMQPValue::Float(n) => (n.to_string(), "float"),
        AMQPValue::Double(n) => (n.to_string(), "double"),
        AMQPValue::DecimalValue(it) => (decimal(*it), "decimal"),
        AMQPValue::Timestamp(n) => (n.to_string(), "timestamp"),
        AMQPValue::FieldArray(_) => (json(value, DEPTH)?.to_string(), "array"),
        AMQPValue::FieldTable(_) => (json(value, DEPTH)?.to_string(), "table"),
        AMQPValue::Void => (String::new(), "void"),
    };
    Some((text.into(), kind))
}

/// Text that is no value of its type.
#[derive(Debug, thiserror::Error)]
pub(super) enum InvalidValue {
    #[error("is {shown:?}: for the type `{kind}` it must be {wanted}")]
    NotOfType {
        shown: String,
        kind: String,
        wanted: WantedValue,
    },
    #[error("has the type `{0}`, which AMQP has not: its types are {types}", types = TYPES)]
    UnknownType(String),
}

/// Form that a value must have.
#[derive(Debug, thiserror::Error)]
pub(super) enum WantedValue {
    #[error("{0}")]
    Form(&'static str),
    #[error("a whole number that fits into {0} bits")]
    WholeNumber(usize),
    #[error("JSON ({0})")]
    Json(serde_json::Error),
    #[error("JSON whose numbers fit into 64 bits, not {0}")]
    JsonNumber(Number),
    #[error("JSON whose names have at most 255 bytes, not {0}")]
    JsonName(usize),
}

/// Returns the value of this type that a text stands for. An error says what would be right.
pub(super) fn from_text(kind: &str, text: &[u8]) -> Result<AMQPValue, InvalidValue> {
    let not_of_type = |wanted: WantedValue| InvalidValue::NotOfType {
        shown: String::from_utf8_lossy(text).chars().take(100).collect(),
        kind: kind.to_owned(),
        wanted,
    };
    let wanted = |form: &'static str| not_of_type(WantedValue::Form(form));
    if matches!(kind, "" | "text") {
        return Ok(AMQPValue::LongString(text.to_vec().into()));
    }
    if kind == "bytes" {
        return Ok(AMQPValue::ByteArray(text.to_vec().into()));
    }
    let given = std::str::from_utf8(text)
        .map_err(|_| wanted("UTF-8"))?
        .trim();
    Ok(match kind {
        "boolean" => AMQPValue::Boolean(given.parse().map_err(|_| wanted("true or false"))?),
        "byte" => AMQPValue::ShortShortInt(whole(given).map_err(not_of_type)?),
        "ubyte" => AMQPValue::ShortShortUInt(whole(given).map_err(not_of_type)?),
        "short" => AMQPValue::ShortInt(whole(given).map_err(not_of_type)?),
        "ushort" => AMQPValue::ShortUInt(whole(given).map_err(not_of_type)?),
        "int" => AMQPValue::LongInt(whole(given).map_err(not_of_type)?),
        "uint" => AMQPValue::LongUInt(whole(given).map_err(not_of_type)?),
        "long" => AMQPValue::LongLongInt(whole(given).map_err(not_of_type)?),
        "float" => AMQPValue::Float(given.parse().map_err(|_| wanted("a number"))?),
        "double" => AMQPValue::Double(given.parse().map_err(|_| wanted("a number"))?),
        "decimal" => AMQPValue::DecimalValue(
            to_decimal(given).ok_or_else(|| wanted("a number such as 1.50, of up to 9 digits"))?,
        ),
        "timestamp" => {
            AMQPValue::Timestamp(given.parse().map_err(|_| wanted("seconds since 1970"))?)
        }
        "void" if given.is_empty() => AMQPValue::Void,
        "void" => return Err(wanted("empty")),
        "array" | "table" => {
            let value = serde_json::from_str(given)
                .map_err(|error| not_of_type(WantedValue::Json(error)))?;
            match (kind, &value) {
                ("array", Value::Array(_)) | ("table", Value::Object(_)) => {
                    from_json(&value).map_err(not_of_type)?
                }
                ("array", _) => return Err(wanted("an array of JSON")),
                _ => return Err(wanted("an object of JSON")),
            }
        }
        _ => {
            return Err(InvalidValue::UnknownType(kind.to_owned()));
        }
    })
}

fn whole<N: FromStr>(text: &str) -> Result<N, WantedValue> {
    text.parse()
        .map_err(|_| WantedValue::WholeNumber(8 * size_of::<N>()))
}

/// Formats a decimal; clients take the number for a signed one.
fn decimal(it: DecimalValue) -> String {
    let unscaled = it.value.cast_signed();
    let (sign, scale) = (if unscaled < 0 { "-" } else { "" }, usize::from(it.scale));
    let digits = format!("{:0>1$}", unscaled.unsigned_abs(), scale + 1);
    let (before, after) = digits.split_at(digits.len() - scale);
    let point = if scale > 0 { "." } else { "" };
    format!("{sign}{before}{point}{after}")
}

fn to_decimal(text: &str) -> Option<DecimalValue> {
    let (before, after) = text.split_once('.').unwrap_or((text, ""));
    let unscaled: i32 = format!("{before}{after}").parse().ok()?;
    after.bytes().all(|it| it.is_ascii_digit()).then_some(())?;
    Some(DecimalValue {
        scale: u8::try_from(after.len()).ok()?,
        value: unscaled.cast_unsigned(),
    })
}

fn json(value: &AMQPValue, depth: usize) -> Option<Value> {
    let number = |it: f64| Number::from_f64(it).map_or(Value::Null, Value::Number);
    Some(match value {
        AMQPValue::Void => Value::Null,
        AMQPValue::Boolean(it) => (*it).into(),
        AMQPValue::ShortShortInt(n) => (*n).into(),
        AMQPValue::ShortShortUInt(n) => (*n).into(),
        AMQPValue::ShortInt(n) => (*n).into(),
        AMQPValue::ShortUInt(n) => (*n).into(),
        AMQPValue::LongInt(n) => (*n).into(),
        AMQPValue::LongUInt(n) => (*n).into(),
        AMQPValue::LongLongInt(n) => (*n).into(),
        AMQPValue::Timestamp(n) => (*n).into(),
        AMQPValue::Float(n) => number(f64::from(*n)),
        AMQPValue::Double(n) => number(*n),
        AMQPValue::DecimalValue(it) => decimal(*it).into(),
        AMQPValue::ShortString(text) => text.as_str().into(),
        AMQPValue::LongString(text) => text_or_base64(text.as_bytes()),
        AMQPValue::ByteArray(bytes) => STANDARD.encode(bytes.as_slice()).into(),
        AMQPValue::FieldArray(values) => {
            let depth = depth.checked_sub(1)?;
            let values = values.as_slice().iter().map(|it| json(it, depth));
            Value::Array(values.collect::<Option<_>>()?)
        }
        AMQPValue::FieldTable(table) => {
            let depth = depth.checked_sub(1)?;
            let entries = table.inner().iter();
            let entries = entries.map(|(name, it)| Some((name.to_string(), json(it, depth)?)));
            Value::Object(entries.collect::<Option<Map<_, _>>>()?)
        }
    })
}

fn text_or_base64(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => STANDARD.encode(bytes).into(),
    }
}

fn from_json(value: &Value) -> Result<AMQPValue, WantedValue> {
    Ok(match value {
        Value::Null => AMQPValue::Void,
        Value::Bool(it) => AMQPValue::Boolean(*it),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(n), _) => AMQPValue::LongLongInt(n),
            (None, Some(n)) if number.is_f64() => AMQPValue::Double(n),
            _ => return Err(WantedValue::JsonNumber(number.clone())),
        },
        Value::String(text) => AMQPValue::LongString(text.as_str().into()),
        Value::Array(values) => {
            let values: Result<Vec<_>, _> = values.iter().map(from_json).collect();
            AMQPValue::FieldArray(FieldArray::from(values?))
        }
        Value::Object(entries) => {
            let mut table = FieldTable::default();
            for (name, value) in entries {
                let name = ShortString::try_new(name.as_str())
                    .map_err(|_| WantedValue::JsonName(name.len()))?;
                table.insert(name, from_json(value)?);
            }
            AMQPValue::FieldTable(table)
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn table(entries: Vec<(&str, AMQPValue)>) -> AMQPValue {
        let mut table = FieldTable::default();
        for (name, value) in entries {
            table.insert(name.into(), value);
        }
        AMQPValue::FieldTable(table)
    }

    #[test]
    fn each_type_round_trips_unchanged() {
        let nested = table(vec![
            ("n", AMQPValue::LongLongInt(1)),
            ("text", AMQPValue::LongString("ü".into())),
            ("none", AMQPValue::Void),
        ]);
        let array = FieldArray::from(vec![AMQPValue::Boolean(true), AMQPValue::Double(0.5)]);
        for (value, text, kind) in [
            (AMQPValue::LongString(vec![0xff, 0].into()), "", ""),
            (AMQPValue::Boolean(true), "true", "boolean"),
            (AMQPValue::ShortShortInt(-5), "-5", "byte"),
            (AMQPValue::ShortShortUInt(250), "250", "ubyte"),
            (AMQPValue::ShortInt(-300), "-300", "short"),
            (AMQPValue::ShortUInt(60_000), "60000", "ushort"),
            (AMQPValue::LongInt(-70_000), "-70000", "int"),
            (AMQPValue::LongUInt(4_000_000_000), "4000000000", "uint"),
            (AMQPValue::LongLongInt(1 << 40), "1099511627776", "long"),
            (AMQPValue::Float(0.1), "0.1", "float"),
            (AMQPValue::Double(-1e-7), "-0.0000001", "double"),
            (
                AMQPValue::Timestamp(1_767_323_045),
                "1767323045",
                "timestamp",
            ),
            (AMQPValue::ByteArray(vec![0xff, 0].into()), "", "bytes"),
            (AMQPValue::Void, "", "void"),
            (nested, r#"{"n":1,"none":null,"text":"ü"}"#, "table"),
            (AMQPValue::FieldArray(array), "[true,0.5]", "array"),
        ] {
            let (shown, of) = to_text(&value).unwrap();
            assert_eq!(of, kind);
            if !text.is_empty() {
                assert_eq!(shown, text);
            }
            assert_eq!(from_text(of, &shown).unwrap(), value, "{kind}");
        }
    }

    #[test]
    fn decimals_keep_their_scale_and_sign() {
        for (scale, value, text) in [
            (2, 150, "1.50"),
            (0, 7, "7"),
            (3, 5, "0.005"),
            (1, (-15_i32).cast_unsigned(), "-1.5"),
        ] {
            let it = DecimalValue { scale, value };
            assert_eq!(decimal(it), text);
            assert_eq!(to_decimal(text), Some(it));
        }
        for wrong in ["", "1.", "x", "1.5.2", "1.-5", "99999999999"] {
            assert!(wrong == "1." || to_decimal(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn invalid_value_error_names_the_right_values() {
        for (kind, text, part) in [
            ("long", "soon", "a whole number that fits into 64 bits"),
            ("byte", "200", "fits into 8 bits"),
            ("boolean", "yes", "true or false"),
            ("table", "[1]", "an object of JSON"),
            ("array", "{", "JSON ("),
            ("table", r#"{"a":18446744073709551615}"#, "fit into 64 bits"),
            ("integer", "1", "its types are boolean, byte"),
        ] {
            let wrong = from_text(kind, text.as_bytes()).unwrap_err().to_string();
            assert!(wrong.contains(part), "{wrong}");
        }
    }

    #[test]
    fn value_too_deep_has_no_text() {
        let nest = |depth: usize| {
            let inner = AMQPValue::FieldArray(FieldArray::default());
            (1..depth).fold(inner, |it, _| AMQPValue::FieldArray(vec![it].into()))
        };
        assert!(to_text(&nest(DEPTH)).is_some());
        assert!(to_text(&nest(DEPTH + 1)).is_none());
    }

    proptest! {
        /// Test 65: whatever a client gives as a typed header is a value or refused, and a value
        /// that has a text is the same again when it is read.
        #[test]
        fn any_typed_text_is_value_or_refused(kind in "[a-z_]{0,12}", text in vec(any::<u8>(), 0..40)) {
            let known = ["boolean", "ubyte", "int", "double", "decimal", "timestamp", "array", "table"];
            let kinds = known.into_iter().chain(["bytes", "text", &kind]);
            for kind in kinds {
                let Ok(value) = from_text(kind, &text) else {
                    continue;
                };
                if let Some((written, kind)) = to_text(&value) {
                    let again = from_text(kind, &written).expect("what was written is read");
                    prop_assert_eq!(to_text(&again).map(|it| it.0), Some(written));
                }
            }
        }
    }
}
