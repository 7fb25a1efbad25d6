//! Reads the body of an nginx-rtmp hook.
//!
//! The server's own fields come first and encoded; what the publisher wrote after `?` follows, raw. So the *first* value
//! of a key is the server's word, and any later one is a stranger's.

use std::sync::Arc;

use url::form_urlencoded;

/// Longer than any hook can be: names are cut at 255 bytes, the publisher's query too.
const LONGEST: usize = 64 << 10;

/// What a hook calls for.
pub(super) enum Call {
    /// `on_publish`.
    Publish(Caller),
    /// `on_publish_done`.
    PublishDone(Caller),
    /// Something else.
    Other,
}

/// Whom a hook is about.
pub(super) struct Caller {
    pub app: Arc<str>,
    pub name: Arc<str>,
    pub client: u64,
    pub address: Option<String>,
    /// What the publisher wrote after `?`.
    pub query: String,
}

/// The call in `body`, or what is wrong with it.
pub(super) fn parse(body: &[u8]) -> Result<Call, &'static str> {
    if body.len() > LONGEST {
        return Err("longer than 64 KiB");
    }
    let field = |wanted: &str| {
        form_urlencoded::parse(body)
            .find(|(key, _)| key == wanted)
            .map(|(_, value)| value)
            .filter(|value| !value.is_empty())
    };
    let publish = match field("call").ok_or("no `call`")?.as_ref() {
        "publish" => Call::Publish,
        "publish_done" => Call::PublishDone,
        _ => return Ok(Call::Other),
    };
    let (app, name) = (field("app").ok_or("no `app`")?, field("name").ok_or("no `name`")?);
    if name.contains(char::REPLACEMENT_CHARACTER) || app.contains(char::REPLACEMENT_CHARACTER) {
        // Two such names could look the same here and be different there.
        return Err("a name that is not UTF-8");
    }
    let client = field("clientid").as_deref().and_then(super::client_number).ok_or("no number in `clientid`")?;
    let address = field("addr").map(std::borrow::Cow::into_owned);
    Ok(publish(Caller { app: app.into(), name: name.into(), client, address, query: theirs(body) }))
}

/// What follows the server's own fields, the last of which is `type`: the server encodes each, so the first `&type=` is
/// its own.
fn theirs(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let own_end = text.split_once("&type=").and_then(|(_, rest)| rest.split_once('&'));
    own_end.map(|(_, query)| query.to_owned()).unwrap_or_default()
}
