//! Strings of the operating system in JSON: text where they are UTF-8, else their bytes.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A command, a path or a variable: any bytes but NUL. In JSON a string, or `{"bytes": "..."}`
/// with two hexadecimal digits for each byte where it is not UTF-8.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct JobText(pub OsString);

impl JobText {
    /// As a path.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from(&self.0)
    }
}

impl<T: AsRef<OsStr>> From<T> for JobText {
    fn from(text: T) -> Self {
        Self(text.as_ref().to_owned())
    }
}

impl Serialize for JobText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some(text) = self.0.to_str() {
            return serializer.serialize_str(text);
        }
        let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or_default();
        let bytes = self.0.as_bytes().iter();
        let digits: String = bytes.flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect();
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("bytes", &digits)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for JobText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

impl JsonSchema for JobText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "JobText".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                {"type": "string"},
                {
                    "type": "object",
                    "properties": {"bytes": {"type": "string", "pattern": "^([0-9a-f]{2})*$"}},
                    "required": ["bytes"],
                    "additionalProperties": false
                }
            ]
        })
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = JobText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, or {\"bytes\": \"hexadecimal digits\"}")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<JobText, E> {
        checked(text.as_bytes().to_vec())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JobText, A::Error> {
        let Some((key, digits)) = map.next_entry::<String, String>()? else {
            return Err(de::Error::missing_field("bytes"));
        };
        if key != "bytes" || map.next_key::<String>()?.is_some() {
            return Err(de::Error::unknown_field(&key, &["bytes"]));
        }
        let bytes = from_digits(digits.as_bytes()).ok_or_else(|| de::Error::custom("not hexadecimal digits"))?;
        checked(bytes)
    }
}

fn checked<E: de::Error>(bytes: Vec<u8>) -> Result<JobText, E> {
    if bytes.contains(&0) {
        return Err(E::custom("it holds a NUL byte"));
    }
    Ok(JobText(OsString::from_vec(bytes)))
}

fn from_digits(digits: &[u8]) -> Option<Vec<u8>> {
    let value = |digit: u8| {
        char::from(digit)
            .to_digit(16)
            .and_then(|value| u8::try_from(value).ok())
    };
    let (pairs, rest) = digits.as_chunks::<2>();
    let byte = |pair: &[u8; 2]| Some(value(pair[0])? << 4 | value(pair[1])?);
    rest.is_empty().then(|| pairs.iter().map(byte).collect())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_stays_text_and_bytes_become_digits() {
        let json = |bytes: &[u8]| serde_json::to_string(&JobText(OsStr::from_bytes(bytes).to_owned())).unwrap();
        assert_eq!(json(b"a \"b\" $c\n"), r#""a \"b\" $c\n""#);
        assert_eq!(json(b"a\xff"), r#"{"bytes":"61ff"}"#);
        for bad in [
            r#""a\u0000""#,
            r#"{"bytes":"6"}"#,
            r#"{"bytes":"zz"}"#,
            r#"{"byte":"61"}"#,
            "{}",
            "7",
        ] {
            assert!(serde_json::from_str::<JobText>(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes in prop::collection::vec(1_u8..=255, 0..40)) {
            let text = JobText(OsString::from_vec(bytes));
            let json = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(serde_json::from_str::<JobText>(&json).unwrap(), text);
        }
    }
}
