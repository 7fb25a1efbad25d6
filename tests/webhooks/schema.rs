//! As much of JSON Schema as `docs/schemas/` uses, and stricter: a property that no schema describes is a problem, and so is a
//! keyword that is not known here. It remembers which properties were met, to tell those that are made up.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use uuid::Uuid;

/// The schemas of a folder, by file name.
pub(crate) struct Schemas {
    documents: BTreeMap<String, Value>,
    met: BTreeSet<String>,
}

/// A schema: the file it is in and the way to it.
#[derive(Clone)]
struct Place {
    document: String,
    pointer: String,
}

impl Place {
    fn at(&self, step: &str) -> Self {
        Self { document: self.document.clone(), pointer: format!("{}/{step}", self.pointer) }
    }

    fn name(&self) -> String {
        format!("{}#{}", self.document, self.pointer)
    }
}

impl Schemas {
    pub(crate) fn new(documents: impl IntoIterator<Item = (String, Value)>) -> Self {
        Self { documents: documents.into_iter().collect(), met: BTreeSet::new() }
    }

    pub(crate) fn read(folder: &Path) -> Self {
        Self::new(std::fs::read_dir(folder).unwrap().map(|entry| {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            (path.file_name().unwrap().to_str().unwrap().to_owned(), serde_json::from_str(&text).unwrap())
        }))
    }

    pub(crate) fn names(&self) -> BTreeSet<String> {
        self.documents.keys().cloned().collect()
    }

    /// What is wrong with `value`, each with where.
    pub(crate) fn problems(&mut self, document: &str, value: &Value) -> Vec<String> {
        let mut found = Vec::new();
        let place = Place { document: document.to_owned(), pointer: String::new() };
        self.check(&place, value, "$", Strict::Yes, &mut found);
        found
    }

    /// Properties that are described and were in nothing that was checked.
    pub(crate) fn unmet(&self) -> Vec<String> {
        let mut all = BTreeSet::new();
        for (document, schema) in &self.documents {
            described(schema, &Place { document: document.clone(), pointer: String::new() }, &mut all);
        }
        all.difference(&self.met).cloned().collect()
    }

    fn schema(&self, place: &Place) -> Value {
        let found = self.documents.get(&place.document).and_then(|document| document.pointer(&place.pointer));
        found.unwrap_or_else(|| panic!("nothing at {}", place.name())).clone()
    }

    fn check(&mut self, place: &Place, value: &Value, at: &str, strict: Strict, found: &mut Vec<String>) {
        let schema = self.schema(place);
        let mut wrong = |what: String| found.push(format!("{at}: {what}"));
        for (keyword, said) in schema.as_object().unwrap() {
            match keyword.as_str() {
                "type" if !types(said).iter().any(|kind| is(kind, value)) => wrong(format!("not {said}")),
                "const" if value != said => wrong(format!("not {said}")),
                "enum" if !said.as_array().unwrap().contains(value) => wrong(format!("not one of {said}")),
                "minimum" if value.as_f64().is_some_and(|number| number < said.as_f64().unwrap()) => {
                    wrong(format!("less than {said}"));
                }
                "maximum" if value.as_f64().is_some_and(|number| number > said.as_f64().unwrap()) => {
                    wrong(format!("more than {said}"));
                }
                "format" if !formatted(said.as_str().unwrap(), value) => wrong(format!("no {said}")),
                "type" | "const" | "enum" | "minimum" | "maximum" | "format" | "$schema" | "$defs" | "title"
                | "description" | "required" | "properties" | "items" | "prefixItems" | "oneOf" | "allOf" | "$ref" => {}
                unknown => panic!("the keyword {unknown} is not known to this test"),
            }
        }
        if let Some(elsewhere) = schema["$ref"].as_str() {
            self.check(&Self::referred(place, elsewhere), value, at, strict, found);
        }
        for (number, _) in schema["allOf"].as_array().into_iter().flatten().enumerate() {
            self.check(&place.at("allOf").at(&number.to_string()), value, at, Strict::No, found);
        }
        if let Some(choices) = schema["oneOf"].as_array() {
            let mut fitting = 0;
            let mut why = Vec::new();
            for number in 0..choices.len() {
                let mut problems = Vec::new();
                self.check(&place.at("oneOf").at(&number.to_string()), value, at, strict, &mut problems);
                fitting += usize::from(problems.is_empty());
                why.extend(problems);
            }
            if fitting != 1 {
                found.push(format!("{at}: fits {fitting} of the choices: {}", why.join("; ")));
            }
        }
        if let Value::Object(fields) = value {
            for name in schema["required"].as_array().into_iter().flatten().map(|name| name.as_str().unwrap()) {
                if !fields.contains_key(name) {
                    found.push(format!("{at}: `{name}` is missing"));
                }
            }
            for (name, field) in fields {
                if !schema["properties"][name].is_null() {
                    let inside = place.at("properties").at(name);
                    self.met.insert(inside.name());
                    self.check(&inside, field, &format!("{at}.{name}"), Strict::Yes, found);
                } else if strict == Strict::Yes && !self.describes(place, name) {
                    found.push(format!("{at}: `{name}` is not described"));
                }
            }
        }
        if let Value::Array(elements) = value {
            for (number, element) in elements.iter().enumerate() {
                let at = format!("{at}[{number}]");
                if !schema["prefixItems"][number].is_null() {
                    self.check(&place.at("prefixItems").at(&number.to_string()), element, &at, Strict::Yes, found);
                } else if !schema["items"].is_null() {
                    self.check(&place.at("items"), element, &at, Strict::Yes, found);
                }
            }
        }
    }

    /// Whether the schema says anything of a property called `name`, itself or by what it refers to. One without any says
    /// nothing on purpose: another describes the same value.
    fn describes(&self, place: &Place, name: &str) -> bool {
        let schema = self.schema(place);
        let open = ["properties", "$ref", "allOf", "oneOf"].iter().all(|keyword| schema[keyword].is_null());
        let referred = schema["$ref"].as_str().map(|elsewhere| Self::referred(place, elsewhere));
        let parts = |keyword: &str| {
            let count = schema[keyword].as_array().map_or(0, Vec::len);
            let keyword = keyword.to_owned();
            (0..count).map(move |number| place.at(&keyword).at(&number.to_string()))
        };
        open || !schema["properties"][name].is_null()
            || referred.into_iter().chain(parts("allOf")).chain(parts("oneOf")).any(|part| self.describes(&part, name))
    }

    fn referred(from: &Place, to: &str) -> Place {
        let (document, pointer) = to.split_once('#').unwrap_or((to, ""));
        let document = if document.is_empty() { &from.document } else { document };
        Place { document: document.to_owned(), pointer: pointer.to_owned() }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Strict {
    Yes,
    /// Another schema describes the same value: what this one does not know it may.
    No,
}

fn described(schema: &Value, place: &Place, all: &mut BTreeSet<String>) {
    let Some(keywords) = schema.as_object() else { return };
    for (keyword, inside) in keywords {
        match (keyword.as_str(), inside) {
            ("properties" | "$defs", Value::Object(named)) => {
                for (name, schema) in named {
                    let place = place.at(keyword).at(name);
                    if keyword == "properties" {
                        all.insert(place.name());
                    }
                    described(schema, &place, all);
                }
            }
            ("items", schema) => described(schema, &place.at(keyword), all),
            ("allOf" | "oneOf" | "prefixItems", Value::Array(several)) => {
                for (number, schema) in several.iter().enumerate() {
                    described(schema, &place.at(keyword).at(&number.to_string()), all);
                }
            }
            _ => {}
        }
    }
}

fn types(said: &Value) -> Vec<&str> {
    match said {
        Value::Array(several) => several.iter().map(|one| one.as_str().unwrap()).collect(),
        one => vec![one.as_str().unwrap()],
    }
}

fn is(kind: &str, value: &Value) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        unknown => panic!("the type {unknown} is not known to this test"),
    }
}

fn formatted(format: &str, value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    match format {
        "uuid" => Uuid::try_parse(text).is_ok(),
        "date-time" => text.parse::<jiff::Timestamp>().is_ok(),
        unknown => panic!("the format {unknown} is not known to this test"),
    }
}
