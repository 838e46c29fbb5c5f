//! Rules of single fields, from which kinds are declared.
//!
//! A [`ValueRule`] says what a value must be. [`RequiredField`], [`OptionalField`] and
//! [`DefaultedField`] make a field's rule of it: they say what a field is that was left out, or
//! can't be read.

use std::{fmt::Display, marker::PhantomData, ops::RangeInclusive};

use crate::{
    Kind,
    declaration::{DeclaredKind, FieldNature, FieldRule, FieldSecrecy, TextChoice},
    field_reader::{FieldReader, GivenValue, TextRule},
    text_rules::{self, InvalidText},
};

/// What a value must be.
pub(crate) trait ValueRule {
    type Value;

    /// Reads a value; what this program can't read is refused, and none.
    fn parse(&self, given: &mut GivenValue<'_, '_>) -> Option<Self::Value>;

    /// The sentence by which a required value is missed.
    fn missing(&self) -> String {
        "is required".to_owned()
    }

    fn nature<'a>(&self, _value: &'a Self::Value) -> FieldNature<'a> {
        FieldNature::Plain
    }

    fn secrecy(&self) -> FieldSecrecy {
        FieldSecrecy::Shown
    }
}

/// A value that must be there.
pub(crate) struct RequiredField<R>(pub R);

impl<R: ValueRule<Value: Default>> FieldRule for RequiredField<R> {
    type Value = R::Value;

    fn read(&self, fields: &mut FieldReader<'_>, field: &'static str) -> R::Value {
        let Some(mut given) = fields.take(field) else {
            fields.refuse_unreadable(field, "", self.0.missing());
            return R::Value::default();
        };
        self.0.parse(&mut given).unwrap_or_default()
    }

    fn nature<'a>(&self, value: &'a R::Value) -> FieldNature<'a> {
        self.0.nature(value)
    }

    fn secrecy(&self) -> FieldSecrecy {
        self.0.secrecy()
    }
}

/// A value that may be left out.
pub(crate) struct OptionalField<R>(pub R);

impl<R: ValueRule> FieldRule for OptionalField<R> {
    type Value = Option<R::Value>;

    fn read(&self, fields: &mut FieldReader<'_>, field: &'static str) -> Option<R::Value> {
        self.0.parse(&mut fields.take(field)?)
    }

    fn nature<'a>(&self, value: &'a Option<R::Value>) -> FieldNature<'a> {
        let there = value.as_ref();
        there.map_or(FieldNature::LeftOut, |it| self.0.nature(it))
    }

    fn secrecy(&self) -> FieldSecrecy {
        self.0.secrecy()
    }
}

/// A value that is the second where it is left out.
pub(crate) struct DefaultedField<R, D>(pub R, pub D);

impl<R: ValueRule, D: Copy + Into<R::Value>> FieldRule for DefaultedField<R, D> {
    type Value = R::Value;

    fn read(&self, fields: &mut FieldReader<'_>, field: &'static str) -> R::Value {
        let given = fields.take(field);
        let value = given.and_then(|mut it| self.0.parse(&mut it));
        value.unwrap_or_else(|| self.1.into())
    }

    fn nature<'a>(&self, value: &'a R::Value) -> FieldNature<'a> {
        self.0.nature(value)
    }

    fn secrecy(&self) -> FieldSecrecy {
        self.0.secrecy()
    }
}

/// A field that the JSON form does without where it is the default of its type.
pub(crate) struct LeftOutByDefault<R>(pub R);

impl<R: FieldRule<Value: Default + PartialEq>> FieldRule for LeftOutByDefault<R> {
    type Value = R::Value;

    fn read(&self, fields: &mut FieldReader<'_>, field: &'static str) -> R::Value {
        self.0.read(fields, field)
    }

    fn nature<'a>(&self, value: &'a R::Value) -> FieldNature<'a> {
        if *value == R::Value::default() {
            return FieldNature::LeftOut;
        }
        self.0.nature(value)
    }

    fn secrecy(&self) -> FieldSecrecy {
        self.0.secrecy()
    }
}

/// How far a text is shown.
#[derive(Clone, Copy)]
enum TextSecrecy {
    Shown,
    /// Shown, but never quoted in an error: what was put there by mistake may be a secret.
    NotQuoted,
    /// Shown to the part that this gives, and never quoted.
    InPart(fn(&str) -> String),
    Secret,
}

/// A text.
pub(crate) struct TextValue<E> {
    rule: TextRule<E>,
    secrecy: TextSecrecy,
    /// Said when it is missing, instead of what the rule says of an empty text.
    missing: Option<&'static str>,
}

const fn text<E>(rule: TextRule<E>, secrecy: TextSecrecy) -> TextValue<E> {
    TextValue {
        rule,
        secrecy,
        missing: None,
    }
}

pub(crate) const fn required<E>(rule: TextRule<E>) -> RequiredField<TextValue<E>> {
    RequiredField(text(rule, TextSecrecy::Shown))
}

/// A text that must be there, and may be empty.
pub(crate) const fn required_or_empty<E>(
    rule: TextRule<E>,
    missing: &'static str,
) -> RequiredField<TextValue<E>> {
    RequiredField(TextValue {
        rule,
        secrecy: TextSecrecy::Shown,
        missing: Some(missing),
    })
}

pub(crate) const fn text_or<E>(
    default: &'static str,
    rule: TextRule<E>,
) -> DefaultedField<TextValue<E>, &'static str> {
    DefaultedField(text(rule, TextSecrecy::Shown), default)
}

pub(crate) const fn optional<E>(rule: TextRule<E>) -> OptionalField<TextValue<E>> {
    OptionalField(text(rule, TextSecrecy::Shown))
}

pub(crate) const fn optional_not_quoted<E>(rule: TextRule<E>) -> OptionalField<TextValue<E>> {
    OptionalField(text(rule, TextSecrecy::NotQuoted))
}

/// A text of which only a part may be shown.
pub(crate) const fn optional_in_part<E>(
    rule: TextRule<E>,
    shown: fn(&str) -> String,
) -> OptionalField<TextValue<E>> {
    OptionalField(text(rule, TextSecrecy::InPart(shown)))
}

/// A text that is never shown again and never quoted.
pub(crate) const fn secret<E>(rule: TextRule<E>) -> OptionalField<TextValue<E>> {
    OptionalField(text(rule, TextSecrecy::Secret))
}

impl<E: Display> ValueRule for TextValue<E> {
    type Value = String;

    fn parse(&self, given: &mut GivenValue<'_, '_>) -> Option<String> {
        if !matches!(self.secrecy, TextSecrecy::Shown) {
            given.hide();
        }
        given.text(self.rule)
    }

    fn missing(&self) -> String {
        match (self.missing, (self.rule)("")) {
            (Some(missing), _) => missing.to_owned(),
            (None, Err(wants)) => format!("is required; it {wants}"),
            (None, Ok(())) => "is required".to_owned(),
        }
    }

    fn nature<'a>(&self, value: &'a String) -> FieldNature<'a> {
        match self.secrecy {
            TextSecrecy::Secret => FieldNature::Secret(value),
            TextSecrecy::InPart(shown) => FieldNature::InPart(shown, value),
            TextSecrecy::Shown | TextSecrecy::NotQuoted => FieldNature::Plain,
        }
    }

    fn secrecy(&self) -> FieldSecrecy {
        match self.secrecy {
            TextSecrecy::Secret => FieldSecrecy::Secret,
            TextSecrecy::InPart(_) => FieldSecrecy::InPart,
            TextSecrecy::Shown | TextSecrecy::NotQuoted => FieldSecrecy::Shown,
        }
    }
}

/// The name of a resource of this kind.
pub(crate) struct ReferenceValue(Kind);

pub(crate) const fn reference(kind: Kind) -> RequiredField<ReferenceValue> {
    RequiredField(ReferenceValue(kind))
}

const NAME: TextValue<InvalidText> = text(text_rules::name, TextSecrecy::Shown);

impl ValueRule for ReferenceValue {
    type Value = String;

    fn parse(&self, given: &mut GivenValue<'_, '_>) -> Option<String> {
        NAME.parse(given)
    }

    fn missing(&self) -> String {
        NAME.missing()
    }

    fn nature<'a>(&self, name: &'a String) -> FieldNature<'a> {
        let (text, kind) = (name, self.0);
        FieldNature::Reference { text, kind, name }
    }
}

/// A resource of one of these kinds, as `KIND/NAME`.
pub(crate) struct QualifiedReference {
    pub kinds: &'static [Kind],
    /// The sentence by which others are refused.
    pub wants: &'static str,
}

impl QualifiedReference {
    pub(crate) fn split<'a>(&self, text: &'a str) -> Option<(Kind, &'a str)> {
        let (kind, name) = text.split_once('/')?;
        let kind = kind.parse().ok()?;
        self.kinds.contains(&kind).then_some((kind, name))
    }

    pub(crate) fn check(&self, text: &str) -> Result<(), InvalidText> {
        match self.split(text) {
            Some((_, name)) => text_rules::name(name),
            None => Err(InvalidText::Form(self.wants)),
        }
    }
}

impl ValueRule for QualifiedReference {
    type Value = String;

    fn parse(&self, given: &mut GivenValue<'_, '_>) -> Option<String> {
        let text = given.text(|text: &str| self.check(text))?;
        // What it names all members must read alike.
        if self.split(&text).is_none() {
            given.not_known(self.wants);
        }
        Some(text)
    }

    fn nature<'a>(&self, text: &'a String) -> FieldNature<'a> {
        match self.split(text) {
            Some((kind, name)) => FieldNature::Reference { text, kind, name },
            None => FieldNature::Plain,
        }
    }
}

/// A list of such references, at least one.
pub(crate) struct ReferenceList {
    pub of: QualifiedReference,
    pub most: usize,
    /// [`QualifiedReference::check`] of `of`, as a plain function.
    pub rule: TextRule<InvalidText>,
}

impl ReferenceList {
    pub(crate) fn natures_of<'a>(&self, texts: &'a [String]) -> FieldNature<'a> {
        let named = texts.iter().filter_map(|text| {
            let (kind, name) = self.of.split(text)?;
            Some((&**text, kind, name))
        });
        FieldNature::References(named.collect())
    }
}

impl ValueRule for ReferenceList {
    type Value = Vec<String>;

    fn parse(&self, given: &mut GivenValue<'_, '_>) -> Option<Vec<String>> {
        let texts = given.texts(self.most, self.rule)?;
        // What they name all members must read alike.
        if texts.iter().any(|text| self.of.split(text).is_none()) {
            given.not_known(self.of.wants);
        }
        Some(texts)
    }

    fn nature<'a>(&self, texts: &'a Vec<String>) -> FieldNature<'a> {
        self.natures_of(texts)
    }
}

/// A list of different texts, at least one.
pub(crate) struct TextList<E> {
    pub most: usize,
    pub rule: TextRule<E>,
}

pub(crate) const fn required_list<E>(most: usize, rule: TextRule<E>) -> RequiredField<TextList<E>> {
    RequiredField(TextList { most, rule })
}

impl<E: Display> ValueRule for TextList<E> {
    type Value = Vec<String>;

    fn parse(&self, given: &mut GivenValue<'_, '_>) -> Option<Vec<String>> {
        given.texts(self.most, self.rule)
    }
}

/// A whole number.
pub(crate) struct NumberValue<T>(RangeInclusive<u64>, PhantomData<T>);

impl<T> NumberValue<T> {
    pub(crate) const fn within(range: RangeInclusive<u64>) -> Self {
        NumberValue(range, PhantomData)
    }
}

pub(crate) const fn number<T>(
    default: T,
    range: RangeInclusive<u64>,
) -> DefaultedField<NumberValue<T>, T> {
    DefaultedField(NumberValue::within(range), default)
}

/// A whole number from 1 on that may be left out.
pub(crate) const fn optional_number<T>(most: u64) -> OptionalField<NumberValue<T>> {
    OptionalField(NumberValue::within(1..=most))
}

impl<T: TryFrom<u64>> ValueRule for NumberValue<T> {
    type Value = T;

    fn parse(&self, given: &mut GivenValue<'_, '_>) -> Option<T> {
        let (low, high) = (self.0.start(), self.0.end());
        let problem = format!("must be a whole number from {low} to {high}");
        let number = given.value.as_u64();
        let held = number.and_then(|number| T::try_from(number).ok());
        if held.is_none() {
            given.refuse_unreadable(problem);
        } else if !number.is_some_and(|number| self.0.contains(&number)) {
            given.refuse(problem);
        }
        held
    }
}

/// `true` or `false`.
pub(crate) struct FlagValue;

pub(crate) const fn flag(default: bool) -> DefaultedField<FlagValue, bool> {
    DefaultedField(FlagValue, default)
}

impl ValueRule for FlagValue {
    type Value = bool;

    fn parse(&self, given: &mut GivenValue<'_, '_>) -> Option<bool> {
        let flag = given.value.as_bool();
        if flag.is_none() {
            given.refuse_unreadable("must be true or false");
        }
        flag
    }
}

/// One of several texts.
pub(crate) struct OneOf<T>(PhantomData<T>);

/// The first where it is left out.
pub(crate) fn one_of<T: TextChoice>() -> DefaultedField<OneOf<T>, T> {
    DefaultedField(OneOf(PhantomData), T::default())
}

pub(crate) const fn required_one_of<T>() -> RequiredField<OneOf<T>> {
    RequiredField(OneOf(PhantomData))
}

impl<T: TextChoice> ValueRule for OneOf<T> {
    type Value = T;

    fn parse(&self, given: &mut GivenValue<'_, '_>) -> Option<T> {
        let is_it = |(text, _): &&(&str, T)| given.value.as_str() == Some(text);
        let chosen = T::CHOICES.iter().find(is_it);
        if chosen.is_none() {
            given.refuse_unreadable(T::in_words());
        }
        chosen.map(|(_, chosen)| *chosen)
    }

    fn missing(&self) -> String {
        format!("is required; it {}", T::in_words())
    }
}

/// An object with fields of its own, each with a default.
pub(crate) struct NestedFields<T>(PhantomData<T>);

pub(crate) const fn nested<T>() -> NestedFields<T> {
    NestedFields(PhantomData)
}

impl<T: DeclaredKind> FieldRule for NestedFields<T> {
    type Value = T;

    fn read(&self, fields: &mut FieldReader<'_>, field: &'static str) -> T {
        fields.nested(field, T::read_fields)
    }

    fn secrecy(&self) -> FieldSecrecy {
        no_secrets_inside::<T>()
    }
}

/// What is secret stands in a field of the resource itself, where it is found to be sealed.
fn no_secrets_inside<T: DeclaredKind>() -> FieldSecrecy {
    debug_assert!(T::secret_fields().is_empty(), "a secret in a nested object");
    FieldSecrecy::Shown
}

/// An object with fields of its own that may be left out.
pub(crate) struct OptionalNested<T>(PhantomData<T>);

pub(crate) const fn optional_nested<T>() -> OptionalNested<T> {
    OptionalNested(PhantomData)
}

impl<T: DeclaredKind> FieldRule for OptionalNested<T> {
    type Value = Option<T>;

    fn read(&self, fields: &mut FieldReader<'_>, field: &'static str) -> Option<T> {
        if fields.has(field) {
            return Some(fields.nested(field, T::read_fields));
        }
        // Known also where it is not there.
        fields.take(field);
        None
    }

    fn nature<'a>(&self, value: &'a Option<T>) -> FieldNature<'a> {
        match value {
            Some(_) => FieldNature::Plain,
            None => FieldNature::LeftOut,
        }
    }

    fn secrecy(&self) -> FieldSecrecy {
        no_secrets_inside::<T>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapped_secret_stays_secret() {
        let secret = || text(text_rules::name, TextSecrecy::Secret);
        let left_out = LeftOutByDefault(OptionalField(secret()));
        let defaulted = DefaultedField(secret(), "x");
        for secrecy in [
            left_out.secrecy(),
            RequiredField(secret()).secrecy(),
            defaulted.secrecy(),
        ] {
            assert_eq!(secrecy, FieldSecrecy::Secret);
        }
        let value = "hunter2".to_owned();
        assert!(matches!(defaulted.nature(&value), FieldNature::Secret(_)));
    }
}
