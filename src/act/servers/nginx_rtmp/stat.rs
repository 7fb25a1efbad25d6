//! Reads what `/stat` says (`ngx_rtmp_stat_module`): who publishes, and where.
//!
//! Half of the text was chosen by strangers, so nothing of it is taken for granted: a text that is cut short, too deep or
//! not what nginx writes is refused as a whole, because a session that is missing from it would count as gone.

use std::mem;

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, Event};

/// Deeper than nginx nests.
const DEEPEST: usize = 16;

/// One who publishes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Publisher {
    /// The application.
    pub app: String,
    /// The stream's name, with a space for each byte that is not printable ASCII.
    pub name: String,
    /// The number of the connection.
    pub client: u64,
    /// The publisher's address.
    pub address: Option<String>,
    /// Bytes received on the stream.
    pub bytes_in: Option<u64>,
}

/// What the text says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Stat {
    /// The worker process that answered.
    pub pid: u32,
    /// Every publisher it knows of.
    pub publishers: Vec<Publisher>,
}

/// Reads the text, or says what is wrong with it.
pub(super) fn read(xml: &str) -> Result<Stat, String> {
    let mut reader = Reader::from_str(xml);
    let mut seen = Seen::default();
    let mut path: Vec<String> = Vec::new();
    let mut closed = false;
    loop {
        match reader.read_event().map_err(|error| error.to_string())? {
            Event::Start(tag) => {
                path.push(tag.name().as_ref().to_owned());
                if path.len() > DEEPEST || closed || path.first().is_some_and(|root| root != "rtmp") {
                    return Err("not the XML of rtmp_stat".to_owned());
                }
                seen.text.clear();
            }
            Event::Empty(tag) => {
                path.push(tag.name().as_ref().to_owned());
                seen.text.clear();
                seen.end(&path)?;
                path.pop();
            }
            Event::End(_) => {
                seen.end(&path)?;
                path.pop();
                closed = path.is_empty();
            }
            Event::Text(text) => seen.text.push_str(&text),
            Event::CData(text) => seen.text.push_str(&text),
            Event::GeneralRef(reference) => seen.text.push_str(&resolve(&reference)?),
            Event::Eof if closed => return Ok(seen.stat),
            Event::Eof => return Err("it ends too early".to_owned()),
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
}

/// What has been read of the elements that are not closed yet.
#[derive(Default)]
struct Seen {
    /// The text of the innermost element.
    text: String,
    app: String,
    name: String,
    bytes_in: Option<u64>,
    client: Option<u64>,
    address: Option<String>,
    publishing: bool,
    stat: Stat,
}

impl Seen {
    /// An element at `path` is closed.
    fn end(&mut self, path: &[String]) -> Result<(), String> {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let text = mem::take(&mut self.text);
        let inside = match path.as_slice() {
            ["rtmp", "pid"] => {
                self.stat.pid = text.parse().unwrap_or_default();
                return Ok(());
            }
            ["rtmp", "server", "application", inside @ ..] => inside,
            _ => return Ok(()),
        };
        match inside {
            ["name"] => self.app = text,
            ["live", "stream", "name"] => self.name = text,
            ["live", "stream", "bytes_in"] => self.bytes_in = text.parse().ok(),
            ["live", "stream"] => {
                self.name.clear();
                self.bytes_in = None;
            }
            ["live", "stream", "client", "id"] => self.client = super::client_number(&text),
            ["live", "stream", "client", "address"] => self.address = Some(text),
            ["live", "stream", "client", "publishing"] => self.publishing = true,
            ["live", "stream", "client"] => {
                let (client, address) = (self.client.take(), self.address.take());
                if mem::take(&mut self.publishing) {
                    let client = client.ok_or_else(|| "a publisher without a number".to_owned())?;
                    let (app, name, bytes_in) = (self.app.clone(), self.name.clone(), self.bytes_in);
                    self.stat.publishers.push(Publisher { app, name, client, address, bytes_in });
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// The character that `&amp;` or `&#38;` stands for.
fn resolve(reference: &BytesRef<'_>) -> Result<String, String> {
    match reference.resolve_char_ref().map_err(|error| error.to_string())? {
        Some(character) => Ok(character.to_string()),
        None => resolve_predefined_entity(reference)
            .map(str::to_owned)
            .ok_or_else(|| "an entity that XML does not define".to_owned()),
    }
}
