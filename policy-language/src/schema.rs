//! The JSON Schema of the files, for editors. Draft 7: what yaml-language-server knows best.

use serde_json::{Map, Value, json};

use crate::keys::{Bond, Form, Key, Mapping, Need, ROOT};

/// The schema of a policy file as JSON text. Editors complete and explain keys with it, and mark
/// what cannot stand; what names mean, and whether a policy contradicts itself, only
/// [`check`](crate::check) says.
pub fn schema() -> String {
    let mut schema = mapping(&ROOT);
    schema.insert("$schema".to_owned(), "http://json-schema.org/draft-07/schema#".into());
    schema.insert("title".to_owned(), "Cellwall policy, cellwall/v1".into());
    let mut text = serde_json::to_string_pretty(&Value::Object(schema)).unwrap_or_default();
    text.push('\n');
    text
}

fn mapping(mapping: &Mapping) -> Map<String, Value> {
    let properties = mapping.keys.iter().map(|key| (key.name.to_owned(), property(key)));
    let required = mapping.keys.iter().filter(|key| key.need == Need::Required);
    let mut schema = object(json!({
        "type": "object",
        "description": mapping.about,
        "properties": properties.collect::<Map<_, _>>(),
        "additionalProperties": false,
        "required": required.map(|key| key.name).collect::<Vec<_>>(),
    }));
    match mapping.bond {
        Bond::None => {}
        Bond::One => {
            schema.insert("minProperties".to_owned(), 1.into());
            schema.insert("maxProperties".to_owned(), 1.into());
        }
        Bond::OneOf(keys) => {
            let one = keys.iter().map(|key| json!({"required": [key]}));
            schema.insert("oneOf".to_owned(), one.collect());
        }
        Bond::RoleOrCalls => {
            let either = json!([
                {"required": ["role"], "not": {"anyOf": [{"required": ["to"]}, {"required": ["allow"]}]}},
                {"required": ["to", "allow"], "not": {"required": ["role"]}},
            ]);
            schema.insert("oneOf".to_owned(), either);
        }
    }
    if mapping.keys.iter().filter(|key| key.need == Need::Required).count() > 1 {
        schema.insert("defaultSnippets".to_owned(), json!([snippet(mapping)]));
    }
    schema
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn property(key: &Key) -> Value {
    let mut schema = object(form(key.form));
    schema.insert("description".to_owned(), key.about.into());
    Value::Object(schema)
}

fn form(of: &Form) -> Value {
    match of {
        Form::Mapping(inner) => Value::Object(mapping(inner)),
        Form::Named { pattern, of } => json!({
            "type": "object",
            "propertyNames": {"pattern": pattern},
            "additionalProperties": form(of),
        }),
        Form::List { of, least } => json!({"type": "array", "items": form(of), "minItems": least}),
        Form::Words(words) => json!({"type": "string", "enum": words}),
        Form::Text { pattern, example } => {
            json!({"type": "string", "pattern": pattern, "examples": [example]})
        }
        Form::Number { least, most } => {
            json!({"type": "integer", "minimum": least, "maximum": most})
        }
        Form::Any(forms) => json!({"anyOf": forms.iter().map(form).collect::<Vec<_>>()}),
    }
}

/// What an editor offers to write: the keys that must be there, in the order of the language.
fn snippet(mapping: &Mapping) -> Value {
    let with_calls = mapping.bond == Bond::RoleOrCalls;
    let wanted = mapping.keys.iter().filter(|key| {
        key.need == Need::Required || (with_calls && matches!(key.name, "to" | "allow"))
    });
    let mut text = String::new();
    let mut number = 0;
    for key in wanted {
        text.push_str(key.name);
        text.push(':');
        fill(key.form, &mut number, &mut text);
        text.push('\n');
    }
    json!({"label": mapping.name, "description": mapping.about, "bodyText": text})
}

/// A place to fill in, with an example in it.
fn fill(form: &Form, number: &mut usize, text: &mut String) {
    let mut stop = |of: &str, text: &mut String| {
        *number += 1;
        text.push_str(&format!(" ${{{number}{of}}}"));
    };
    match form {
        Form::Words(words) => stop(&format!("|{}|", words.join(",")), text),
        Form::Text { example, .. } => {
            stop(&format!(":{}", example.replace(['$', '{', '}'], "")), text);
        }
        Form::Number { least, .. } => stop(&format!(":{least}"), text),
        Form::Any(forms) => forms.iter().take(1).for_each(|form| fill(form, number, text)),
        Form::List { of, .. } => match of {
            Form::Mapping(inner) => {
                for key in inner.keys.iter().take(1) {
                    text.push_str(&format!("\n  - {}:", key.name));
                    fill(key.form, number, text);
                }
            }
            other => {
                text.push_str(" [");
                let mut inside = String::new();
                fill(other, number, &mut inside);
                text.push_str(inside.trim_start());
                text.push(']');
            }
        },
        Form::Mapping(inner) => {
            for key in inner.keys.iter().take(1) {
                text.push_str(&format!("\n  {}:", key.name));
                fill(key.form, number, text);
            }
        }
        Form::Named { .. } => stop("", text),
    }
}
