//! Whether an answer is what an `openapi.json` says: as much of JSON Schema as those use.

use serde_json::Value;

/// Panics where an answer of status 200 to `GET path`, a path of the description, is another than it says.
pub(crate) fn assert_described(description: &Value, path: &str, answer: &Value) {
    let content = &description["paths"][path]["get"]["responses"]["200"]["content"];
    assert_fits(description, &content["application/json"]["schema"], answer);
}

/// Panics where a value is another than a schema of the description says.
pub(crate) fn assert_fits(description: &Value, schema: &Value, value: &Value) {
    let faults = faults(description, schema, value, "");
    assert!(faults.is_empty(), "{faults:#?}\n{value}");
}

/// What is wrong, each with its place.
fn faults(description: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    if let Some(place) = schema["$ref"].as_str() {
        let schema = description.pointer(place.trim_start_matches('#'));
        return faults(description, schema.unwrap_or(&Value::Null), value, at);
    }
    if let Some(all) = schema["anyOf"].as_array() {
        let each: Vec<_> = all.iter().map(|schema| faults(description, schema, value, at)).collect();
        let fits = each.iter().any(Vec::is_empty);
        return if fits { Vec::new() } else { each.concat() };
    }
    let mut found = Vec::new();
    if !types(schema).iter().any(|name| is_of(name, value)) {
        found.push(format!("{at}: expected {}, found {value}", schema["type"]));
    }
    if schema["enum"].as_array().is_some_and(|all| !all.contains(value)) {
        found.push(format!("{at}: expected one of {}, found {value}", schema["enum"]));
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        found.extend(faults(description, &schema["items"], item, &format!("{at}/{index}")));
    }
    let Some(members) = value.as_object() else { return found };
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !members.contains_key(name) {
            found.push(format!("{at}: `{name}` is required"));
        }
    }
    for (name, member) in members {
        match schema["properties"].get(name).or_else(|| schema.get("additionalProperties")) {
            Some(schema) => found.extend(faults(description, schema, member, &format!("{at}/{name}"))),
            None => found.push(format!("{at}: `{name}` is not described")),
        }
    }
    found
}

fn types(schema: &Value) -> Vec<&str> {
    let one = schema["type"].as_str();
    one.into_iter().chain(schema["type"].as_array().into_iter().flatten().filter_map(Value::as_str)).collect()
}

fn is_of(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}

/// The paths that a source file routes.
pub(crate) fn routed(source: &str) -> Vec<&str> {
    let routes = source.lines().filter_map(|line| line.trim().strip_prefix(".route(\""));
    routes.filter_map(|rest| rest.split('"').next()).collect()
}

#[test]
fn what_is_not_described_is_found() {
    let description = serde_json::json!({ "components": { "schemas": { "A": {
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": { "type": ["string", "null"], "enum": ["a", null] },
            "list": { "type": "array", "items": { "$ref": "#/components/schemas/A" } },
        },
    } } } });
    let schema = serde_json::json!({ "$ref": "#/components/schemas/A" });
    let of = |value: Value| faults(&description, &schema, &value, "").len();
    assert_eq!(of(serde_json::json!({ "name": "a", "list": [{ "name": null }] })), 0);
    assert_eq!(of(serde_json::json!({ "list": [{ "name": 1 }, { "name": "b", "more": 1 }] })), 5);
    assert_eq!(faults(&description, &Value::Null, &schema, "").len(), 2, "no schema says nothing");
}
