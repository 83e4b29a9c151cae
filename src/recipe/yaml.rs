//! YAML text to a located tree: the only user of the YAML parser.
//!
//! The parser is serde-saphyr under the name `serde_yaml` (see `Cargo.toml`). It is asked for
//! untyped values only, so that duplicate keys and wrong types are left to [`super::shape`],
//! which reports all of them at once where serde would stop at the first.

use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde_yaml::{DuplicateKeyPolicy, Location, MergeKeyPolicy, NonFiniteFloatPolicy, Spanned};

use super::codes::{self, Code};
use super::node::{Entry, Node, Value};
use crate::diagnostic::Span;

/// More nodes than any recipe has, few enough that an alias bomb is found at once.
const MAX_NODES: usize = 20_000;
/// Deeper than any recipe, far from the stack's end.
const MAX_DEPTH: usize = 24;

/// Why a text is not a YAML document.
#[derive(Debug)]
pub(super) struct YamlError {
    /// [`codes::SYNTAX`] or [`codes::TOO_COMPLEX`].
    pub(super) code: Code,
    /// What is wrong.
    pub(super) message: String,
    /// Where.
    pub(super) span: Span,
}

/// Parses the one document of `text`; a text without any is a null node.
pub(super) fn parse(text: &str) -> Result<Node, YamlError> {
    let options = serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_nodes: MAX_NODES,
            max_depth: MAX_DEPTH,
            max_documents: 2,
        },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::AsOrdinary,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        strict_booleans: true,
        with_snippet: false,
    };
    let raw =
        serde_yaml::from_str_with_options::<Spanned<Raw>>(text, options).map_err(|error| refusal(text, &error))?;
    Ok(node(text, raw))
}

fn refusal(text: &str, error: &serde_yaml::Error) -> YamlError {
    let error = error.without_snippet();
    // The parser's sentence ends in the place, which the diagnostic shows better.
    let sentence = error.to_string();
    let sentence = sentence.lines().next().unwrap_or_default();
    let sentence = sentence.split(" at line ").next().unwrap_or_default();
    let (code, message) = if sentence.starts_with("budget breached") {
        let message = format!("more than {MAX_NODES} values, or nested deeper than {MAX_DEPTH}");
        (codes::TOO_COMPLEX, message)
    } else if matches!(error, serde_yaml::Error::MultipleDocuments { .. }) {
        (codes::SYNTAX, "more than one YAML document in the file".to_owned())
    } else {
        (codes::SYNTAX, sentence.to_owned())
    };
    let location = error.location().unwrap_or(Location::UNKNOWN);
    YamlError {
        code,
        message,
        span: span_in(text, &location),
    }
}

/// The bytes of `text` that `location` means: always a valid range on character borders. The
/// scanner knows only line and column: then it is the one character there.
fn span_in(text: &str, location: &Location) -> Span {
    let place = location.span();
    let Some((start, len)) = place.byte_offset().zip(place.byte_len()) else {
        return character_at(text, location.line(), location.column());
    };
    let start = floor_boundary(text, start);
    let end = floor_boundary(text, (start as u64).saturating_add(len)).max(start);
    Span { range: start..end }
}

/// The character at `line` and `column`, both counted from 1.
fn character_at(text: &str, line: u64, column: u64) -> Span {
    let before = |n: u64| usize::try_from(n.saturating_sub(1)).unwrap_or(usize::MAX);
    let lines = text.split_inclusive('\n');
    let offset: usize = lines.clone().take(before(line)).map(str::len).sum();
    let rest = lines.clone().nth(before(line)).unwrap_or_default();
    let start = offset + rest.chars().take(before(column)).map(char::len_utf8).sum::<usize>();
    let width = text[start..]
        .chars()
        .next()
        .filter(|&c| c != '\n')
        .map_or(0, char::len_utf8);
    Span {
        range: start..start + width,
    }
}

fn floor_boundary(text: &str, offset: u64) -> usize {
    text.floor_char_boundary(usize::try_from(offset).unwrap_or(usize::MAX).min(text.len()))
}

/// An untyped value as the parser hands it out.
enum Raw {
    Null,
    Boolean(bool),
    Integer(i128),
    Float,
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Integer(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Integer(value))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Raw, E> {
        Ok(i128::try_from(value).map_or(Raw::Float, Raw::Integer))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Float)
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}

fn node(source: &str, raw: Spanned<Raw>) -> Node {
    let span = span_in(source, &raw.referenced);
    let written = || source[span_in(source, &raw.defined).range].trim().to_owned();
    let (text, value) = match raw.value {
        Raw::Null => (written(), Value::Null),
        Raw::Boolean(value) => (written(), Value::Boolean(value)),
        Raw::Integer(value) => (written(), Value::Integer(value)),
        Raw::Float => (written(), Value::Float),
        Raw::Text(text) => (text, Value::Text),
        Raw::List(items) => {
            let items: Vec<Node> = items.into_iter().map(|item| node(source, item)).collect();
            let last = items.last().map(|item| item.span.clone());
            return collection(source, span.range, last, Value::List(items));
        }
        Raw::Map(entries) => {
            let entry = |(key, value)| Entry {
                key: node(source, key),
                value: node(source, value),
            };
            let entries: Vec<Entry> = entries.into_iter().map(entry).collect();
            let last = entries.last().map(|entry| entry.value.span.clone());
            return collection(source, span.range, last, Value::Map(entries));
        }
    };
    Node { span, text, value }
}

/// The parser says only where a list or map begins: it ends with its last value, or with the
/// bracket behind that.
fn collection(source: &str, own: Range<usize>, last: Option<Span>, value: Value) -> Node {
    let Range { start, end } = own;
    let end = last.map_or(end, |last| last.range.end).max(end);
    let opened = source[start..].starts_with(['[', '{']);
    let behind = source[end..].trim_start_matches(|c: char| c.is_whitespace() || matches!(c, ',' | '[' | '{'));
    let closed = opened && behind.starts_with([']', '}']);
    let end = if closed { source.len() - behind.len() + 1 } else { end };
    Node {
        span: Span { range: start..end },
        text: String::new(),
        value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every node of `text` as `kind text [what its span covers]`.
    fn outline(text: &str) -> Vec<String> {
        fn walk(source: &str, node: &Node, out: &mut Vec<String>) {
            out.push(format!(
                "{} {:?} {:?}",
                node.kind(),
                node.text,
                &source[node.span.range.clone()]
            ));
            match &node.value {
                Value::List(items) => items.iter().for_each(|item| walk(source, item, out)),
                Value::Map(entries) => entries.iter().for_each(|entry| {
                    walk(source, &entry.key, out);
                    walk(source, &entry.value, out);
                }),
                _ => {}
            }
        }
        let mut out = Vec::new();
        walk(text, &parse(text).unwrap(), &mut out);
        out
    }

    #[test]
    fn every_value_keeps_its_text_and_its_place() {
        assert_eq!(
            outline("a: 0x1F\nb: ['y é', true, \"z\\n\", 1.50, ~]\na: no\n")[1..],
            [
                r#"text "a" "a""#,
                r#"a whole number "0x1F" "0x1F""#,
                r#"text "b" "b""#,
                r#"a list "" "['y é', true, \"z\\n\", 1.50, ~]""#,
                r#"text "y é" "'y é'""#,
                r#"true or false "true" "true""#,
                r#"text "z\n" "\"z\\n\"""#,
                r#"a number "1.50" "1.50""#,
                r#"nothing "~" "~""#,
                r#"text "a" "a""#,
                r#"text "no" "no""#,
            ]
        );
    }

    #[test]
    fn an_alias_stands_where_it_is_used() {
        let outline = outline("a: &x 7\nb: *x\n");
        assert_eq!(outline[4], r#"a whole number "7" "*x""#);
    }

    #[test]
    fn a_text_without_a_document_is_nothing() {
        for text in ["", "\n", "# only a comment\n"] {
            assert_eq!(parse(text).unwrap().value, Value::Null, "{text:?}");
        }
    }

    #[test]
    fn what_is_not_yaml_is_refused_at_its_place() {
        let deep = "[".repeat(200) + &"]".repeat(200);
        let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b]\n\
                    d: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d]\n";
        for (text, code, range) in [
            ("a: [1\nb: 2", codes::SYNTAX, 7..8),
            ("a:\n\tb: 1\n", codes::SYNTAX, 4..5),
            ("a: 1\n---\nb: 2\n", codes::SYNTAX, 9..9),
            ("é: *nope\n", codes::SYNTAX, 4..5),
            ("a: \"x", codes::SYNTAX, 3..4),
            (bomb, codes::TOO_COMPLEX, 132..134),
            (&deep, codes::TOO_COMPLEX, 24..25),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(
                (error.code, error.span.range),
                (code, range),
                "{text} {}",
                error.message
            );
            assert!(!error.message.contains("line"), "{}", error.message);
        }
    }
}
