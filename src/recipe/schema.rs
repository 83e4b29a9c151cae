//! The JSON Schema of recipes: for editors, and for [`super::shape`], which compares a recipe with it.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::model;

/// The schema of a recipe file (JSON Schema draft-07, the newest that YAML editors understand).
#[must_use]
pub fn recipe() -> Value {
    let generator = SchemaSettings::draft07().into_generator();
    let mut schema = generator.into_root_schema_for::<model::Recipe>().to_value();
    forbid_null(&mut schema);
    schema
}

/// The schema as it is committed at `schemas/recipe.schema.json`: indented, with a final newline.
#[must_use]
pub fn recipe_text() -> String {
    format!("{:#}\n", recipe())
}

/// Takes `null` out of every type. An `Option` means that a key may be left out; a key without a
/// value is always a slip.
fn forbid_null(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(forbid_null),
        Value::Object(object) => {
            object.values_mut().for_each(forbid_null);
            forbid_null_type(object);
            forbid_null_alternative(object);
            if object.get("default").is_some_and(Value::is_null) {
                object.shift_remove("default");
            }
        }
        _ => {}
    }
}

/// `type: [X, null]` becomes `type: X`.
fn forbid_null_type(object: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
}

/// `anyOf: [X, {type: null}]` becomes `allOf: [X]`, which may stand beside a description.
fn forbid_null_alternative(object: &mut Map<String, Value>) {
    let null = |schema: &Value| schema.get("type").is_some_and(|name| name == "null");
    let is_nullable = |value: &Value| {
        value
            .as_array()
            .is_some_and(|all| all.len() == 2 && all.iter().any(null))
    };
    if object.get("anyOf").is_some_and(is_nullable)
        && let Some(Value::Array(mut alternatives)) = object.shift_remove("anyOf")
    {
        alternatives.retain(|schema| !null(schema));
        object.insert("allOf".to_owned(), Value::Array(alternatives));
    }
}
