//! Reading a JSON object field by field, so that a wrong value is named with its path.
//!
//! Unknown fields are not looked at: clients send more than any one server knows. Only in what is ours they are refused.

use super::fault::Fault;
use crate::server::error::shortened;
use serde_json::Value;
use std::ops::RangeInclusive;

/// A value somewhere in an event, and the way to it.
#[derive(Debug, Clone)]
pub(super) struct Field<'a> {
    path: String,
    value: &'a Value,
}

impl<'a> Field<'a> {
    /// The value that everything else is inside of.
    pub(super) fn root(path: &str, value: &'a Value) -> Self {
        Self { path: path.to_owned(), value }
    }

    /// The field `key`; `None` when it is omitted.
    ///
    /// # Errors
    ///
    /// When this is not an object.
    pub(super) fn get(&self, key: &str) -> Result<Option<Field<'a>>, Fault> {
        let object = self.value.as_object().ok_or_else(|| self.wrong("an object"))?;
        Ok(object.get(key).map(|value| Field { path: self.path_to(key), value }))
    }

    /// Where the field `key` is, or should be. The event itself has no name.
    pub(super) fn path_to(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Checks that there are no fields but these: where all fields are ours, another one is misspelt.
    ///
    /// # Errors
    ///
    /// When there is one, or when this is not an object.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), Fault> {
        let object = self.value.as_object().ok_or_else(|| self.wrong("an object"))?;
        let Some(stranger) = object.keys().find(|key| !known.contains(&key.as_str())) else { return Ok(()) };
        let message =
            format!("{} has no field \"{}\"; it has {}", self.path, shortened(stranger), known.join(", "));
        Err(self.fault("unknown_field", message))
    }

    /// Whether it is `null`, which clears what an omitted field would keep.
    pub(super) fn is_null(&self) -> bool {
        self.value.is_null()
    }

    /// Whether fields are to be found in it.
    pub(super) fn is_object(&self) -> bool {
        self.value.is_object()
    }

    /// The names of its fields.
    ///
    /// # Errors
    ///
    /// When this is not an object.
    pub(super) fn keys(&self) -> Result<impl Iterator<Item = &'a str>, Fault> {
        let object = self.value.as_object().ok_or_else(|| self.wrong("an object"))?;
        Ok(object.keys().map(String::as_str))
    }

    /// All of it, as JSON.
    ///
    /// # Errors
    ///
    /// When this is not an object.
    pub(super) fn object_as_text(&self) -> Result<String, Fault> {
        if self.is_object() { Ok(self.value.to_string()) } else { Err(self.wrong("an object")) }
    }

    /// What `read` makes of it; `default` where `null` clears it.
    pub(super) fn or<T>(&self, default: T, read: impl FnOnce(&Self) -> Result<T, Fault>) -> Result<T, Fault> {
        if self.is_null() { Ok(default) } else { read(self) }
    }

    pub(super) fn text(&self) -> Result<&'a str, Fault> {
        self.value.as_str().ok_or_else(|| self.wrong("a string"))
    }

    pub(super) fn flag(&self) -> Result<bool, Fault> {
        self.value.as_bool().ok_or_else(|| self.wrong("true or false"))
    }

    pub(super) fn number(&self, range: RangeInclusive<f64>) -> Result<f64, Fault> {
        let expected = || self.wrong(&format!("a number from {} to {}", range.start(), range.end()));
        self.value.as_f64().filter(|number| range.contains(number)).ok_or_else(expected)
    }

    pub(super) fn integer(&self, range: RangeInclusive<u64>) -> Result<u64, Fault> {
        let expected = || self.wrong(&format!("a whole number from {} to {}", range.start(), range.end()));
        // JavaScript writes 500 and 500.0 alike, other languages do not.
        let whole = |number: f64| (number.fract() == 0.0 && number >= 0.0).then_some(number as u64);
        let number = self.value.as_u64().or_else(|| self.value.as_f64().and_then(whole));
        number.filter(|number| range.contains(number)).ok_or_else(expected)
    }

    /// The one of `choices` whose name stands here.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, Fault> {
        let names = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        let wrong = || self.wrong(&format!("one of {names}"));
        let text = self.value.as_str().ok_or_else(wrong)?;
        choices.iter().find(|(name, _)| *name == text).map(|(_, choice)| *choice).ok_or_else(wrong)
    }

    /// The elements of a list.
    pub(super) fn elements(&self) -> Result<impl Iterator<Item = Field<'a>>, Fault> {
        let elements = self.value.as_array().ok_or_else(|| self.wrong("a list"))?;
        let path = self.path.clone();
        let element = move |(n, value)| Field { path: format!("{path}[{n}]"), value };
        Ok(elements.iter().enumerate().map(element))
    }

    /// A fault of this field.
    pub(super) fn fault(&self, code: &'static str, message: impl Into<String>) -> Fault {
        Fault::invalid(code, message).in_param(self.path.clone())
    }

    fn wrong(&self, expected: &str) -> Fault {
        let value = shortened(&self.value.to_string());
        self.fault("invalid_value", format!("invalid value for {}: {value}; expected {expected}", self.path))
    }
}
