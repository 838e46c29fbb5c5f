//! Declaration of a kind: each field once, with its doc, type, default, rule and secrecy.
//!
//! [`declare!`] makes of one block the struct, its JSON form, its `Debug` without secrets and
//! its reader. What a field takes is a [`FieldRule`]; a rule that spans fields is a plain
//! function, named with `then` behind the last field that it needs.

use std::fmt::Debug;

use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;

use crate::{
    Kind,
    field_reader::{FieldReader, ParseOutcome},
};

/// What one field takes: reads its value, or says what would be right.
pub(crate) trait FieldRule {
    type Value;

    fn read(&self, fields: &mut FieldReader<'_>, field: &'static str) -> Self::Value;

    fn nature<'a>(&self, _value: &'a Self::Value) -> FieldNature<'a> {
        FieldNature::Plain
    }

    fn secrecy(&self) -> FieldSecrecy {
        FieldSecrecy::Shown
    }
}

/// How much of a field others than its user may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldSecrecy {
    Shown,
    /// A part of it may be shown; with the rest it is sealed before it is stored.
    InPart,
    /// Nothing: it is sealed before it is stored.
    Secret,
}

/// What the value of a field is to others.
pub(crate) enum FieldNature<'a> {
    Plain,
    /// As if the field was not there: the JSON form does without it.
    LeftOut,
    /// The name of a resource of this kind, in the text that is the value.
    Reference {
        text: &'a str,
        kind: Kind,
        name: &'a str,
    },
    /// The names of several resources: of each the text, the kind and the name.
    References(Vec<(&'a str, Kind, &'a str)>),
    /// Never shown again.
    Secret(&'a str),
    /// Shown to the part that the function gives of the text.
    InPart(fn(&str) -> String, &'a str),
}

impl FieldNature<'_> {
    /// Returns the value as it may stand in a log.
    pub(crate) fn debug<'a>(&self, value: &'a dyn Debug) -> Box<dyn Debug + 'a> {
        match self {
            FieldNature::Secret(_) => Box::new("(hidden)"),
            FieldNature::InPart(shown, text) => Box::new(shown(text)),
            _ => Box::new(value),
        }
    }
}

/// Ties a rule to the type of its field.
pub(crate) fn typed<T>(rule: impl FieldRule<Value = T>) -> impl FieldRule<Value = T> {
    rule
}

/// What [`declare!`] makes beside the struct.
pub(crate) trait DeclaredKind: Sized {
    /// Returns the fields of which something is secret.
    fn secret_fields() -> Vec<(&'static str, FieldSecrecy)>;

    fn read_fields(fields: &mut FieldReader<'_>) -> Self;

    /// Returns the fields in their order, each with the nature of its value.
    fn natures(&self) -> Vec<(&'static str, FieldNature<'_>)>;

    fn read(spec: &Value) -> ParseOutcome<Self> {
        let mut fields = FieldReader::new(spec);
        let it = Self::read_fields(&mut fields);
        fields.finish(it)
    }

    /// Reads what [`crate::Resource::read`] reads.
    fn deserialized<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let outcome = Self::read(&Value::deserialize(from)?);
        match outcome.unknown.first() {
            Some(error) => Err(D::Error::custom(format!(
                "{}: {}",
                error.field, error.problem
            ))),
            None => Ok(outcome.value),
        }
    }
}

/// Declares a kind. The fields are read in the order in which they stand, which is that of
/// the errors too.
macro_rules! declare {
    (
        $(#[$attribute:meta])*
        pub struct $name:ident {
            $(
                $(#[doc = $doc:literal])+
                $field:ident: $type:ty = $rule:expr
                $(, then $check:ident($($argument:ident),*))?;
            )+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name {
            $($(#[doc = $doc])+ pub $field: $type,)+
        }

        const _: () = {
            use $crate::{
                declaration::{DeclaredKind, FieldNature, FieldRule, FieldSecrecy, typed},
                field_reader::FieldReader,
            };

            impl DeclaredKind for $name {
                fn secret_fields() -> Vec<(&'static str, FieldSecrecy)> {
                    let mut fields = vec![
                        $((stringify!($field), typed::<$type>($rule).secrecy())),+
                    ];
                    fields.retain(|(_, secrecy)| *secrecy != FieldSecrecy::Shown);
                    fields
                }

                fn read_fields(reader: &mut FieldReader<'_>) -> Self {
                    $(
                        let $field: $type = $rule.read(reader, stringify!($field));
                        $($check(reader, $(&$argument),*);)?
                    )+
                    $name { $($field),+ }
                }

                fn natures(&self) -> Vec<(&'static str, FieldNature<'_>)> {
                    vec![$((stringify!($field), $rule.nature(&self.$field))),+]
                }
            }

            impl std::fmt::Debug for $name {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.debug_struct(stringify!($name))
                        $(.field(
                            stringify!($field),
                            &$rule.nature(&self.$field).debug(&self.$field),
                        ))+
                        .finish()
                }
            }

            impl serde::Serialize for $name {
                fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                    use serde::ser::SerializeMap;
                    let mut map = to.serialize_map(None)?;
                    $(if !matches!($rule.nature(&self.$field), FieldNature::LeftOut) {
                        map.serialize_entry(stringify!($field), &self.$field)?;
                    })+
                    map.end()
                }
            }

            impl<'de> serde::Deserialize<'de> for $name {
                fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                    DeclaredKind::deserialized(from)
                }
            }
        };
    };
}
pub(crate) use declare;

/// A type that is one of a few texts. The first is the default, where there may be one.
pub(crate) trait TextChoice: Copy + Default + 'static {
    const CHOICES: &'static [(&'static str, Self)];

    fn in_words() -> String {
        let texts: Vec<&str> = Self::CHOICES.iter().map(|(text, _)| *text).collect();
        format!("must be {}", texts.join(" or "))
    }
}

/// Declares a [`TextChoice`], each variant with its text.
macro_rules! choices {
    (
        $(#[$attribute:meta])*
        pub enum $name:ident {
            $($(#[doc = $doc:literal])+ $variant:ident = $text:literal,)+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[doc = $doc])+ #[serde(rename = $text)] $variant,)+
        }

        impl $crate::declaration::TextChoice for $name {
            const CHOICES: &'static [(&'static str, Self)] = &[$(($text, $name::$variant)),+];
        }

        /// The first: the default of a field that has one, and what a reader goes on with once it
        /// has refused a required one.
        impl Default for $name {
            fn default() -> Self {
                <Self as $crate::declaration::TextChoice>::CHOICES[0].1
            }
        }
    };
}
pub(crate) use choices;
