//! Entries of NCMEC's hash sharing API, version 2, as its `entries` answers them in XML.
//!
//! The shape is that of `NCMECEntryUpdate` in
//! `python-threatexchange/threatexchange/exchanges/clients/ncmec/hash_api.py` of github.com/facebook/ThreatExchange and of the
//! answers its tests are made of: `images` and `videos` hold `image`, `video`, `deletedImage` and `deletedVideo`, each with the
//! `id` of its `member` and its own, and `fingerprints` by kind, of which `pdq` is read. A deleted entry takes its signals
//! with it; an entry that comes again stands for what it was before.

use std::mem;
use std::sync::Arc;

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};

use super::{Item, Listed, Place, Read, hash};

/// Deeper than entries nest.
const DEEPEST: usize = 16;

pub(super) fn read(xml: &str) -> Result<Read, String> {
    let mut reader = Reader::from_str(xml.trim_start());
    let mut entries = Entries::default();
    let mut path: Vec<String> = Vec::new();
    loop {
        let event = match reader.read_event() {
            Ok(event) => event,
            Err(error) => {
                let reason = format!("it is not XML from here on: {error}");
                return entries.broken(xml, reader.buffer_position(), &reason);
            }
        };
        match event {
            Event::Start(tag) => {
                path.push(tag.local_name().as_ref().to_owned());
                if path.len() > DEEPEST || path.first().is_some_and(|root| root != "queryResult") {
                    return Err("it is not the answer of `entries`".to_owned());
                }
                entries.begin(&path, &tag);
            }
            Event::Empty(tag) => {
                path.push(tag.local_name().as_ref().to_owned());
                entries.begin(&path, &tag);
                entries.end(&path);
                path.pop();
            }
            Event::End(_) => {
                entries.end(&path);
                path.pop();
            }
            Event::Text(text) => entries.text.push_str(&text),
            Event::CData(text) => entries.text.push_str(&text),
            Event::GeneralRef(reference) => {
                entries.text.push_str(resolve_predefined_entity(&reference).unwrap_or("\u{fffd}"));
            }
            Event::Eof if path.is_empty() && entries.seen_root => return Ok(entries.read),
            Event::Eof if entries.seen_root => {
                return entries.broken(xml, reader.buffer_position(), "it ends inside an entry");
            }
            Event::Eof => return Err("it is not the answer of `entries`".to_owned()),
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
}

#[derive(Default)]
struct Entries {
    read: Read,
    seen_root: bool,
    /// The text of the innermost element.
    text: String,
    count: u64,
    member: Option<String>,
    id: Option<String>,
    pdq: Vec<String>,
    other: usize,
}

impl Entries {
    /// What came before the break still holds.
    fn broken(mut self, xml: &str, at: u64, reason: &str) -> Result<Read, String> {
        if !self.seen_root {
            return Err(reason.to_owned());
        }
        let before = usize::try_from(at).ok().and_then(|at| xml.get(..at)).unwrap_or(xml);
        self.read.fault(Place::Line(before.matches('\n').count() as u64 + 1), reason);
        Ok(self.read)
    }

    fn begin(&mut self, path: &[String], tag: &BytesStart<'_>) {
        self.text.clear();
        self.seen_root = true;
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        if let [_, _, _, "member"] = path.as_slice() {
            let id = tag.attributes().flatten().find(|attribute| attribute.key.as_ref() == "id");
            self.member = id.map(|id| id.value.to_string());
        }
    }

    fn end(&mut self, path: &[String]) {
        let text = mem::take(&mut self.text);
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        match path.as_slice() {
            [_, _, _, "id"] => self.id = Some(text.trim().to_owned()),
            [_, _, "image", "fingerprints", "pdq"] => self.pdq.push(text.trim().to_owned()),
            [_, _, "image" | "video", "fingerprints", _] => self.other += 1,
            [_, "images" | "videos", "image" | "video" | "deletedImage" | "deletedVideo"] => self.entry(),
            _ => {}
        }
    }

    fn entry(&mut self) {
        self.count += 1;
        let place = Place::Record(self.count);
        let (member, id) = (self.member.take(), self.id.take());
        let pdq = mem::take(&mut self.pdq);
        self.read.other += mem::take(&mut self.other);
        let (Some(member), Some(id)) = (member, id.filter(|id| !id.is_empty())) else {
            self.read.fault(place, "it lacks its id or its member's");
            return;
        };
        let record: Arc<str> = format!("ncmec:{member}/{id}").into();
        self.read.items.push(Item::Anew(Arc::clone(&record)));
        for text in pdq {
            match hash(&text) {
                Ok(hash) => {
                    let record = Some(Arc::clone(&record));
                    self.read.items.push(Item::Signal(Listed { record, ..Listed::bare(place, hash) }));
                }
                Err(reason) => self.read.fault(place, reason),
            }
        }
    }
}
