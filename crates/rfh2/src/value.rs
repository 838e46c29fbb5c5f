//! Typed values of properties: the `dt` attribute.

use std::fmt;

use crate::{Element, Error};

/// A property's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// It has none (a JMS null).
    Null,
    /// A string: no `dt`, or `string`, or `char`.
    Text(String),
    /// `boolean`: 0 or 1.
    Boolean(bool),
    /// `i1`.
    Byte(i8),
    /// `i2`.
    Short(i16),
    /// `i4`.
    Int(i32),
    /// `i8`, or `int`.
    Long(i64),
    /// `r4`.
    Float(f32),
    /// `r8`.
    Double(f64),
    /// `bin.hex`.
    Bytes(Vec<u8>),
}

impl Value {
    /// Reads that of an element.
    pub fn read(element: &Element) -> Result<Self, Error> {
        let text = element.text.as_str();
        if element.nil {
            return Ok(Value::Null);
        }
        let Some(kind) = element.kind.as_deref() else {
            return Ok(Value::Text(text.to_owned()));
        };
        let number = text.trim();
        let value = match kind {
            "string" | "char" => Some(Value::Text(text.to_owned())),
            "boolean" => match number {
                "1" | "true" | "TRUE" => Some(Value::Boolean(true)),
                "0" | "false" | "FALSE" => Some(Value::Boolean(false)),
                _ => None,
            },
            "i1" => number.parse().ok().map(Value::Byte),
            "i2" => number.parse().ok().map(Value::Short),
            "i4" => number.parse().ok().map(Value::Int),
            "i8" | "int" => number.parse().ok().map(Value::Long),
            "r4" => number.parse().ok().map(Value::Float),
            "r8" => number.parse().ok().map(Value::Double),
            "bin.hex" => unhex(number).map(Value::Bytes),
            _ => None,
        };
        value.ok_or_else(|| Error::Typed {
            name: element.name.clone(),
            kind: kind.to_owned(),
            text: text.chars().take(64).collect(),
        })
    }

    /// As an element of this name.
    pub fn write(&self, name: &str) -> Element {
        let kind = match self {
            Value::Null | Value::Text(_) => None,
            Value::Boolean(_) => Some("boolean"),
            Value::Byte(_) => Some("i1"),
            Value::Short(_) => Some("i2"),
            Value::Int(_) => Some("i4"),
            Value::Long(_) => Some("i8"),
            Value::Float(_) => Some("r4"),
            Value::Double(_) => Some("r8"),
            Value::Bytes(_) => Some("bin.hex"),
        };
        let text = match self {
            Value::Boolean(it) => u8::from(*it).to_string(),
            other => other.to_string(),
        };
        Element {
            name: name.to_owned(),
            kind: kind.map(str::to_owned),
            nil: *self == Value::Null,
            text,
            children: Vec::new(),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => Ok(()),
            Value::Text(it) => f.write_str(it),
            Value::Boolean(it) => it.fmt(f),
            Value::Byte(it) => it.fmt(f),
            Value::Short(it) => it.fmt(f),
            Value::Int(it) => it.fmt(f),
            Value::Long(it) => it.fmt(f),
            Value::Float(it) => it.fmt(f),
            Value::Double(it) => it.fmt(f),
            Value::Bytes(it) => it.iter().try_for_each(|byte| write!(f, "{byte:02X}")),
        }
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |it: u8| char::from(it).to_digit(16);
    digits
        .chunks_exact(2)
        .map(|pair| u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok())
        .collect()
}
