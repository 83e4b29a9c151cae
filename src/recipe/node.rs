//! A YAML document as a tree whose every node knows its place.

use crate::diagnostic::Span;

/// One value and its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    /// Where it stands; empty for a value left out.
    pub(super) span: Span,
    /// A scalar's text as it is written (quotes and escapes resolved); empty for the others.
    pub(super) text: String,
    /// What it is.
    pub(super) value: Value,
}

/// What a [`Node`] is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// Nothing: a value left out, `null` or `~`.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Integer(i128),
    /// Any other number.
    Float,
    /// Text.
    Text,
    /// A list.
    List(Vec<Node>),
    /// A map in the order written; a key may stand in it twice.
    Map(Vec<Entry>),
}

/// One entry of a map.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    /// The key, a scalar.
    pub(super) key: Node,
    /// Its value.
    pub(super) value: Node,
}

impl Node {
    /// What it is, in the words of a message.
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Boolean(_) => "true or false",
            Value::Integer(_) => "a whole number",
            Value::Float => "a number",
            Value::Text => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// The value of `key`, if this is a map that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(entries) => entries
                .iter()
                .find(|entry| entry.key.text == key)
                .map(|entry| &entry.value),
            _ => None,
        }
    }
}
