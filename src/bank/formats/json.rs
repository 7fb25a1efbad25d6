//! Records in JSON, however they were saved: one document, a list, pages one after the other, or one record a line.

use serde::de::DeserializeOwned;
use serde_json::{Deserializer, Value};

use super::{Place, Read};

/// The records of `text`, numbered, each as a `T`; what is none is a fault. A document may hold its records under one of
/// the names in `under`.
///
/// # Errors
/// When the text is not JSON at all.
pub(super) fn records<T: DeserializeOwned>(
    text: &str,
    under: &[&str],
    read: &mut Read,
) -> Result<Vec<(Place, T)>, String> {
    let documents: Result<Vec<Value>, _> = Deserializer::from_str(text).into_iter::<Value>().collect();
    let values: Vec<(Place, Value)> = match documents {
        Ok(documents) => {
            let values = documents.into_iter().flat_map(|document| opened(document, under));
            (1..).map(Place::Record).zip(values).collect()
        }
        // One record a line survives a bad one; a document that is broken anywhere is lost.
        Err(error) => by_line(text, read).ok_or_else(|| error.to_string())?,
    };
    let mut records = Vec::new();
    for (place, value) in values {
        match serde_json::from_value(value) {
            Ok(record) => records.push((place, record)),
            // serde's words show the value, which may be a hash.
            Err(_) => read.fault(place, "it lacks a field that every record has"),
        }
    }
    Ok(records)
}

fn opened(document: Value, under: &[&str]) -> Vec<Value> {
    match document {
        Value::Array(records) => records,
        Value::Object(mut fields) => {
            let inside = under.iter().find_map(|name| match fields.remove(*name) {
                Some(Value::Array(records)) => Some(records),
                _ => None,
            });
            inside.unwrap_or_else(|| vec![Value::Object(fields)])
        }
        other => vec![other],
    }
}

fn by_line(text: &str, read: &mut Read) -> Option<Vec<(Place, Value)>> {
    let mut values = Vec::new();
    let mut broken = Vec::new();
    for (place, line) in super::lines::lines(text) {
        match serde_json::from_str::<Value>(line) {
            Ok(value @ Value::Object(_)) => values.push((place, value)),
            Ok(_) | Err(_) => broken.push(place),
        }
    }
    if values.is_empty() {
        return None;
    }
    for place in broken {
        read.fault(place, "it is not a JSON object");
    }
    Some(values)
}
