//! Texts with `{app}`, `{stream}` and `{session}` in them, and what is written there.
//!
//! What is put in is encoded for where it stands, by whoever fills the template in; everything else is the operator's
//! own and stays as it is. A path in which a name would climb (`..`) or vanish is not made at all.

use reqwest::Method;

use crate::act::servers::link::encoded;
use crate::stream::Session;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    App,
    Stream,
    Session,
}

const PLACES: [(&str, Place); 3] = [("{app}", Place::App), ("{stream}", Place::Stream), ("{session}", Place::Session)];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Place(Place),
}

/// What the places are filled with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Filled<'a> {
    app: &'a str,
    stream: &'a str,
    session: &'a str,
}

impl<'a> Filled<'a> {
    pub(super) fn of(session: &'a Session) -> Self {
        Self { app: &session.stream.app, stream: &session.stream.name, session: &session.id.0 }
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

impl Template {
    /// Reads a template, or says what is wrong with it. Braces around anything but a word are text.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if let Some((mark, place)) = PLACES.iter().find(|(mark, _)| rest.starts_with(mark)) {
                parts.push(Part::Text(std::mem::take(&mut plain)));
                parts.push(Part::Place(*place));
                rest = rest.strip_prefix(mark).unwrap_or_default();
                continue;
            }
            if let Some((word, _)) = rest.strip_prefix('{').and_then(|inside| inside.split_once('}'))
                && !word.is_empty()
                && word.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_')
            {
                return Err(format!("`{{{word}}}` is nothing to put in: use {{app}}, {{stream}} or {{session}}"));
            }
            plain.push(first);
            rest = rest.strip_prefix(first).unwrap_or_default();
        }
        parts.push(Part::Text(plain));
        Ok(Self(parts))
    }

    pub(super) fn names_session(&self) -> bool {
        self.0.contains(&Part::Place(Place::Session))
    }

    /// Whether it says who is meant: an application is not somebody.
    pub(super) fn names_somebody(&self) -> bool {
        self.names_session() || self.0.contains(&Part::Place(Place::Stream))
    }

    pub(super) fn names_anything(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Place(_)))
    }

    /// The text, with what is put in written by `write`.
    pub(super) fn fill(&self, filled: &Filled<'_>, write: impl Fn(&str) -> String) -> String {
        let parts = self.0.iter().map(|part| match part {
            Part::Text(text) => text.clone(),
            Part::Place(Place::App) => write(filled.app),
            Part::Place(Place::Stream) => write(filled.stream),
            Part::Place(Place::Session) => write(filled.session),
        });
        parts.collect()
    }
}

/// A method and what it is asked of: `DELETE /api/clients/{session}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) method: Method,
    path: Template,
    query: Option<Template>,
}

impl Line {
    /// Reads a line, or says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let example = "write it like \"DELETE /api/clients/{session}\"";
        let (method, target) = text.split_once(' ').ok_or_else(|| format!("no method and path: {example}"))?;
        let known = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
        let method = known.into_iter().find(|known| known.as_str() == method);
        let method = method.ok_or_else(|| format!("its method is none of GET, POST, PUT, PATCH, DELETE: {example}"))?;
        if !target.starts_with('/') || target.contains(['#', ' ', '\\']) || target.chars().any(char::is_control) {
            return Err(format!("its path does not begin with `/`, or holds `#`, `\\` or a space: {example}"));
        }
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let climbs = |step: &str| matches!(step.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..");
        if path.split('/').any(climbs) {
            return Err(format!("its path climbs with `..`: {example}"));
        }
        Ok(Self { method, path: Template::parse(path)?, query: query.map(Template::parse).transpose()? })
    }

    pub(super) fn names_session(&self) -> bool {
        self.path.names_session() || self.query.as_ref().is_some_and(Template::names_session)
    }

    pub(super) fn names_somebody(&self) -> bool {
        self.path.names_somebody() || self.query.as_ref().is_some_and(Template::names_somebody)
    }

    pub(super) fn names_anything(&self) -> bool {
        self.path.names_anything() || self.query.as_ref().is_some_and(Template::names_anything)
    }

    /// The path and the query, encoded. `None` when a name would make the path another: as an empty step, `.` or `..`.
    pub(super) fn target(&self, filled: &Filled<'_>) -> Option<String> {
        let path = self.path.fill(filled, encoded);
        let bare = self.path.fill(&Filled { app: "x", stream: "x", session: "x" }, encoded);
        let sound = |(step, with_x): (&str, &str)| step == with_x || !matches!(step, "" | "." | "..");
        if !path.split('/').zip(bare.split('/')).all(sound) {
            return None;
        }
        Some(match &self.query {
            Some(query) => format!("{path}?{}", query.fill(filled, encoded)),
            None => path,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::StreamId;

    fn target(line: &str, app: &str, name: &str, id: &str) -> Option<String> {
        let session = Session { stream: StreamId::new("main", app, name), id: id.into() };
        Line::parse(line).unwrap().target(&Filled::of(&session))
    }

    #[test]
    fn what_is_put_in_stays_where_it_was_put() {
        for (line, name, expected) in [
            ("GET /a/{stream}", "a&b", Some("/a/a%26b")),
            ("GET /a/{stream}?n={stream}", "n#h?x=1", Some("/a/n%23h%3Fx%3D1?n=n%23h%3Fx%3D1")),
            ("GET /a/{stream}", "../{session}", Some("/a/..%2F%7Bsession%7D")),
            ("GET /a/{stream}", "..", None),
            ("GET /a/{stream}/end", "", None),
            ("GET /a/.{stream}", ".", None),
            ("GET /a/{stream}.json", "..", Some("/a/...json")),
            ("GET /a/?n={stream}", "..", Some("/a/?n=..")),
            ("GET /a//b/{stream}", "c", Some("/a//b/c")),
            ("GET /a/{app}/{stream}/{session}", "s", Some("/a/live%2Fsub/s/7")),
        ] {
            assert_eq!(target(line, "live/sub", name, "7").as_deref(), expected, "{line} {name}");
        }
    }

    #[test]
    fn a_wrong_line_is_told_before_anything_starts() {
        for (line, said) in [
            ("", "no method"),
            ("/api", "no method"),
            ("FETCH /api", "method"),
            ("get /api", "method"),
            ("GET api", "begin with `/`"),
            ("GET http://h/api", "begin with `/`"),
            ("GET /api/#x", "begin with `/`"),
            ("GET /api/../x", "climbs"),
            ("GET /api/%2E%2e/x", "climbs"),
            ("GET /api/{name}", "`{name}` is nothing"),
            ("GET /api?a={Stream}", "`{Stream}` is nothing"),
        ] {
            let message = Line::parse(line).unwrap_err();
            assert!(message.contains(said), "{line}: {message}");
        }
    }

    #[test]
    fn braces_of_json_are_text() {
        let template = Template::parse(r#"{"a":{"b":"{stream}"},"c":{}}"#).unwrap();
        let session = Session { stream: StreamId::new("main", "", "{session}"), id: "7".into() };
        let filled = template.fill(&Filled::of(&session), str::to_owned);
        assert_eq!(filled, r#"{"a":{"b":"{session}"},"c":{}}"#, "what was put in is not looked at again");
    }
}
