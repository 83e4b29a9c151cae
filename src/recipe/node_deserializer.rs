//! A located tree as a serde deserialiser, so that the recipe's types stay plain derives.

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeSeed, Error as _, IntoDeserializer, SeqAccess, Visitor};
use serde::{Deserializer, forward_to_deserialize_any};

use super::located::LOCATED;
use super::node::{Entry, Node, Value};

/// Why a tree does not fit a type. [`shape`](super::shape) finds this before, and better.
pub(super) type Error = serde::de::value::Error;

/// A node of the report's file number `file`.
#[derive(Clone, Copy, Debug)]
pub(super) struct NodeDeserializer<'a> {
    node: &'a Node,
    file: usize,
}

impl<'a> NodeDeserializer<'a> {
    /// The deserialiser of `node`, which stands in file number `file` of a report.
    pub(super) fn new(node: &'a Node, file: usize) -> Self {
        Self { node, file }
    }

    fn child(self, node: &'a Node) -> Self {
        Self { node, ..self }
    }

    fn entries(self, entries: &'a [Entry]) -> impl Iterator<Item = (Self, Self)> {
        entries
            .iter()
            .map(move |entry| (self.child(&entry.key), self.child(&entry.value)))
    }
}

impl<'de> Deserializer<'de> for NodeDeserializer<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Boolean(value) => visitor.visit_bool(*value),
            Value::Integer(value) => match u64::try_from(*value) {
                Ok(value) => visitor.visit_u64(value),
                Err(_) => visitor.visit_i128(*value),
            },
            Value::Float | Value::Text => visitor.visit_str(&self.node.text),
            Value::List(items) => {
                SeqDeserializer::new(items.iter().map(|item| self.child(item))).deserialize_any(visitor)
            }
            Value::Map(entries) => MapDeserializer::new(self.entries(entries)).deserialize_any(visitor),
        }
    }

    /// A scalar's text as it is written: `1.50` stays `1.50` where text is wanted.
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::List(_) | Value::Map(_) => self.deserialize_any(visitor),
            _ => visitor.visit_str(&self.node.text),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Error> {
        if name != LOCATED {
            return visitor.visit_newtype_struct(self);
        }
        let range = &self.node.span.range;
        visitor.visit_seq(LocatedParts {
            numbers: [range.end, range.start, self.file].to_vec(),
            value: Some(self),
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.node.value {
            Value::Text => visitor.visit_enum(self.node.text.as_str().into_deserializer()),
            _ => Err(Error::custom("not one of the known words")),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct ignored_any
    }
}

impl IntoDeserializer<'_, Error> for NodeDeserializer<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// What a [`Located`](super::located::Located) is made of: three numbers (last first), then the
/// value.
struct LocatedParts<'a> {
    numbers: Vec<usize>,
    value: Option<NodeDeserializer<'a>>,
}

impl<'de> SeqAccess<'de> for LocatedParts<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        if let Some(number) = self.numbers.pop() {
            return seed.deserialize((number as u64).into_deserializer()).map(Some);
        }
        self.value.take().map(|value| seed.deserialize(value)).transpose()
    }
}
