//! Compares a located tree with a JSON Schema: every unknown key, duplicate key, missing key and
//! wrong type at once.
//!
//! serde stops at the first such problem. Here each one is reported and the smallest entry around
//! it is taken out of the tree, so that the rest can still be read and checked. The schema is the
//! one derived from the types, so that keys are written down once. Understood is what schemars
//! writes for plain structs, lists, maps, numbers, text and unit enums.

use std::collections::BTreeSet;

use serde_json::Value as Schema;

use super::codes::{self, Code};
use super::located::Place;
use super::node::{Entry, Node, Value};
use super::report::{Added, Report, quoted};
use super::suggest::did_you_mean;
use crate::diagnostic::Span;

/// Checks `node`, the root of file number `file`, and leaves in it only what fits. Returns whether
/// the root itself fits.
pub(super) fn check(node: &mut Node, schema: &Schema, file: usize, report: &mut Report) -> bool {
    let mut checker = Checker {
        root: schema,
        file,
        report,
    };
    let span = node.span.clone();
    checker.check(node, schema, &span, "the file")
}

struct Checker<'a> {
    root: &'a Schema,
    file: usize,
    report: &'a mut Report,
}

impl<'a> Checker<'a> {
    /// Whether `node` fits, after what does not fit was taken out of it. `owner` is what to mark
    /// when the node itself is empty; `what` names it in messages.
    fn check(&mut self, node: &mut Node, schema: &'a Schema, owner: &Span, what: &str) -> bool {
        let schema = self.resolve(schema);
        if let Some(words) = known_words(schema) {
            return self.check_word(node, &words, owner, what);
        }
        if !self.check_type(node, schema, owner, what) {
            return false;
        }
        self.report_missing(node, schema, what);
        match &mut node.value {
            Value::Map(entries) => self.check_entries(entries, schema),
            Value::List(items) => {
                let item = schema.get("items").unwrap_or(&Schema::Bool(true));
                items.retain_mut(|node| self.check(node, item, owner, &format!("an item of {what}")));
            }
            _ => {}
        }
        required(schema).all(|name| node.get(name).is_some())
    }

    /// Follows `$ref`, also where it is the only member of an `allOf`.
    fn resolve(&self, schema: &'a Schema) -> &'a Schema {
        let mut schema = schema;
        loop {
            let inner = schema.get("allOf").and_then(|all| all.get(0));
            let target = schema.get("$ref").and_then(Schema::as_str);
            let target = target.and_then(|path| self.root.pointer(path.trim_start_matches('#')));
            match inner.or(target) {
                Some(next) => schema = next,
                None => return schema,
            }
        }
    }

    fn check_entries(&mut self, entries: &mut Vec<Entry>, schema: &'a Schema) {
        let mut seen = BTreeSet::new();
        entries.retain_mut(|entry| {
            let known = self.check_key(&entry.key, schema, &seen);
            seen.insert(entry.key.text.clone());
            let what = quoted(&entry.key.text);
            known.is_some_and(|schema| self.check(&mut entry.value, schema, &entry.key.span, &what))
        });
    }

    /// The schema of the entry's value, unless the key is unknown or was there before.
    fn check_key(&mut self, key: &Node, schema: &'a Schema, seen: &BTreeSet<String>) -> Option<&'a Schema> {
        let name = &key.text;
        if matches!(key.value, Value::List(_) | Value::Map(_) | Value::Null) {
            let message = format!("a key must be text, not {}", key.kind());
            self.add(&key.span, codes::WRONG_TYPE, message);
            return None;
        }
        if seen.contains(name) {
            let message = format!("{} is given twice", quoted(name));
            let added = self.add(&key.span, codes::DUPLICATE_KEY, message);
            added.help("write all of its values under one key");
            return None;
        }
        let properties = schema.get("properties").and_then(Schema::as_object);
        if let Some(known) = properties.and_then(|properties| properties.get(name)) {
            return Some(known);
        }
        match schema.get("additionalProperties") {
            Some(Schema::Bool(false)) => {
                let known: Vec<&str> = properties
                    .into_iter()
                    .flatten()
                    .map(|(name, _)| name.as_str())
                    .collect();
                let help = self.help_for_unknown_key(name, &known);
                let added = self.add(&key.span, codes::UNKNOWN_KEY, format!("unknown key {}", quoted(name)));
                added.help(help);
                None
            }
            Some(any) => Some(any),
            None => Some(&Schema::Bool(true)),
        }
    }

    fn help_for_unknown_key(&self, name: &str, known: &[&str]) -> String {
        if let Some(help) = did_you_mean(name, known.iter().copied()) {
            return help;
        }
        let sections = self.root.get("properties").and_then(Schema::as_object);
        let mut sections = sections.into_iter().flatten();
        let home = sections.find(|(_, schema)| {
            let properties = self.resolve(schema).get("properties");
            properties.is_some_and(|properties| properties.get(name).is_some())
        });
        match home {
            Some((section, _)) => format!("'{name}' belongs under '{section}'"),
            None => format!("known here: {}", known.join(", ")),
        }
    }

    fn report_missing(&mut self, node: &Node, schema: &Schema, what: &str) {
        for name in required(schema).filter(|name| node.get(name).is_none()) {
            let message = format!("{what} lacks the key {}", quoted(name));
            self.add(&node.span, codes::MISSING_KEY, message)
                .label("expected in here");
        }
    }

    fn check_word(&mut self, node: &Node, words: &[&str], owner: &Span, what: &str) -> bool {
        if node.value == Value::Text && words.contains(&node.text.as_str()) {
            return true;
        }
        if node.value != Value::Text {
            return self.wrong_type(node, "one of the known words", owner, what);
        }
        let message = format!("{what} cannot be {}", quoted(&node.text));
        let known = format!("known here: {}", words.join(", "));
        let help = did_you_mean(&node.text, words.iter().copied()).unwrap_or(known);
        self.add(&node.span, codes::UNKNOWN_VALUE, message).help(help);
        false
    }

    fn check_type(&mut self, node: &Node, schema: &Schema, owner: &Span, what: &str) -> bool {
        let types = names(schema.get("type"));
        let fits = |name: &&str| match node.value {
            Value::Null => *name == "null",
            Value::Boolean(_) => *name == "boolean",
            Value::Integer(_) => matches!(*name, "integer" | "number"),
            Value::Float => *name == "number",
            Value::Text => *name == "string",
            Value::List(_) => *name == "array",
            Value::Map(_) => *name == "object",
        };
        if !types.is_empty() && !types.iter().any(fits) {
            return self.wrong_type(node, type_name(types[0]), owner, what);
        }
        let bounds = types.contains(&"integer").then(|| number_bounds(schema)).flatten();
        match (&node.value, bounds) {
            (Value::Integer(number), Some((low, high))) if !(low..=high).contains(number) => {
                let message = format!("{what} must be a whole number from {low} to {high}");
                self.add(&node.span, codes::WRONG_TYPE, message);
                false
            }
            _ => true,
        }
    }

    fn wrong_type(&mut self, node: &Node, expected: &str, owner: &Span, what: &str) -> bool {
        let span = if node.span.range.is_empty() { owner } else { &node.span };
        let help = match node.value {
            Value::Null => Some("give it a value or take the key out".to_owned()),
            Value::Boolean(_) | Value::Integer(_) | Value::Float if expected == TEXT => {
                Some(format!("put it in quotes: \"{}\"", node.text))
            }
            Value::Text if expected == LIST => Some(format!("write [{}] or one '- item' a line", node.text)),
            Value::Text if expected == BOOLEAN => Some("write true or false".to_owned()),
            _ => None,
        };
        let message = format!("{what} must be {expected}, not {}", node.kind());
        self.add(span, codes::WRONG_TYPE, message).maybe_help(help);
        false
    }

    /// Adds a problem; of a place of several lines, the first is marked.
    fn add(&mut self, span: &Span, code: Code, message: String) -> Added<'_> {
        let text = &self.report.files[self.file].text[span.range.clone()];
        let len = text.find('\n').unwrap_or(text.len());
        let place = Place {
            file: self.file,
            span: Span {
                range: span.range.start..span.range.start + len,
            },
        };
        self.report.add(&place, code, message)
    }
}

const TEXT: &str = "text";
const LIST: &str = "a list";
const BOOLEAN: &str = "true or false";

fn type_name(json: &str) -> &'static str {
    match json {
        "string" => TEXT,
        "array" => LIST,
        "object" => "a map",
        "integer" => "a whole number",
        "boolean" => BOOLEAN,
        _ => "a value",
    }
}

/// The text, or the texts of the list, that `schema` is.
fn names(schema: Option<&Schema>) -> Vec<&str> {
    match schema {
        Some(Schema::String(name)) => vec![name],
        Some(Schema::Array(names)) => names.iter().filter_map(Schema::as_str).collect(),
        _ => Vec::new(),
    }
}

fn required(schema: &Schema) -> impl Iterator<Item = &str> {
    names(schema.get("required")).into_iter()
}

/// The words of an enum: written as `enum`, or as `oneOf` constants when each has its description.
fn known_words(schema: &Schema) -> Option<Vec<&str>> {
    let alternatives = schema.get("oneOf").and_then(Schema::as_array);
    let single = std::slice::from_ref(schema);
    let words: Vec<&str> = alternatives
        .map_or(single, Vec::as_slice)
        .iter()
        .flat_map(|alternative| names(alternative.get("const").or(alternative.get("enum"))))
        .collect();
    (!words.is_empty()).then_some(words)
}

/// The least and the greatest number that `schema` allows, by its bounds or by Rust's type.
fn number_bounds(schema: &Schema) -> Option<(i128, i128)> {
    let bound = |key: &str| schema.get(key).and_then(Schema::as_i64).map(i128::from);
    let highest = match schema.get("format").and_then(Schema::as_str) {
        Some("uint8") => u8::MAX.into(),
        Some("uint32") => u32::MAX.into(),
        _ => return None,
    };
    Some((bound("minimum").unwrap_or(0), bound("maximum").unwrap_or(highest)))
}
