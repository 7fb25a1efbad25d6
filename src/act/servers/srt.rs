//! Streams pulled over SRT: one address for all of them, and a stream's id (`streamid`) that says which is meant.
//!
//! What servers make of the id differs, and a name that means something in it could ask for another stream, or pose as a
//! publisher: such names are refused.

use url::{Url, form_urlencoded};

use super::link::without_user;
use crate::act::ActError;
use crate::media_server::{Protocol, Pull};
use crate::stream::StreamId;

/// Longest id that SRT carries, in bytes.
const LONGEST: usize = 512;

/// `stream` as the access control guidelines of SRT write it: `#!::r=live/cam,m=request`, with the virtual host as `h`.
///
/// # Errors
/// [`ActError::Unpullable`] where a part holds what parts the others.
pub(super) fn standard(stream: &StreamId, vhost: Option<&str>) -> Result<String, ActError> {
    let host = vhost.map(|vhost| format!("h={vhost},")).unwrap_or_default();
    let resource = path(stream);
    if format!("{resource}{}", vhost.unwrap_or_default()).contains([',', '=', '{', '}']) {
        return Err(unpullable(stream, "over SRT its name may hold no comma, equals sign or brace"));
    }
    Ok(format!("#!::{host}r={resource},m=request"))
}

/// `stream` as `MediaMTX` has it: `read:live/cam`, and user, password and query after further colons.
///
/// # Errors
/// [`ActError::Unpullable`] where the name holds a colon.
pub(super) fn read(stream: &StreamId) -> Result<String, ActError> {
    let path = path(stream);
    if path.contains(':') {
        return Err(unpullable(stream, "over SRT its name may hold no colon"));
    }
    Ok(format!("read:{path}"))
}

/// `stream` under the address `base`, which may bring a passphrase and a latency along, asked for as `id`.
///
/// # Errors
/// [`ActError::Unpullable`].
pub(super) fn pull(base: &Url, stream: &StreamId, id: &str) -> Result<Pull, ActError> {
    if id.len() > LONGEST {
        return Err(unpullable(stream, "over SRT its name is too long"));
    }
    if stream.name.is_empty() || id.contains(char::is_control) {
        return Err(unpullable(stream, "its name is empty, or holds what cannot be written"));
    }
    let mut url = without_user(base);
    let kept: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(key, _)| !matches!(&**key, "streamid" | "mode"))
        .map(|(k, v)| (k.into(), v.into()))
        .collect();
    // A plus would be taken for itself, so a space is not written as one.
    let written =
        form_urlencoded::Serializer::new(String::new()).extend_pairs(kept).append_pair("streamid", id).finish();
    url.set_query(Some(&written.replace('+', "%20")));
    Ok(Pull { stream: stream.clone(), protocol: Protocol::Srt, url: url.into() })
}

fn path(stream: &StreamId) -> String {
    if stream.app.is_empty() { stream.name.to_string() } else { format!("{}/{}", stream.app, stream.name) }
}

fn unpullable(stream: &StreamId, reason: &'static str) -> ActError {
    ActError::Unpullable { server: stream.server.clone(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(app: &str, name: &str) -> StreamId {
        StreamId::new("main", app, name)
    }

    #[test]
    fn a_stream_is_asked_for_by_its_id() {
        let base: Url =
            "srt://u:p@h:10080?passphrase=a%20secret+&streamid=x&mode=listener&latency=200".parse().unwrap();
        let cam = stream("live", "cam 1&mode=listener#é");
        let pull = pull(&base, &cam, &read(&cam).unwrap()).unwrap();
        assert_eq!(pull.protocol, Protocol::Srt);
        let url: Url = pull.url.parse().unwrap();
        let pairs: Vec<(String, String)> = url.query_pairs().map(|(k, v)| (k.into(), v.into())).collect();
        let expected =
            [("passphrase", "a secret "), ("latency", "200"), ("streamid", "read:live/cam 1&mode=listener#é")];
        assert_eq!(pairs, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert!(pull.url.starts_with("srt://h:10080?") && !pull.url.contains(['+', '#', ' ']), "{}", pull.url);
    }

    #[test]
    fn an_id_names_one_stream_and_asks_to_play_it() {
        assert_eq!(standard(&stream("live", "cam"), None).unwrap(), "#!::r=live/cam,m=request");
        assert_eq!(standard(&stream("", "cam"), Some("v.example")).unwrap(), "#!::h=v.example,r=cam,m=request");
        assert_eq!(read(&stream("a/b", "cam")).unwrap(), "read:a/b/cam");
        for (name, by_standard, by_read) in
            [("a,m=publish", false, true), ("a=b", false, true), ("{a}", false, true), ("a:user:pass", true, false)]
        {
            let stream = stream("live", name);
            assert_eq!((standard(&stream, None).is_ok(), read(&stream).is_ok()), (by_standard, by_read), "{name}");
        }
        let base: Url = "srt://h:1".parse().unwrap();
        for (id, name) in [("x".repeat(513), "cam"), ("a\nb".to_owned(), "cam"), ("x".to_owned(), "")] {
            assert_eq!(pull(&base, &stream("live", name), &id).unwrap_err().kind(), "unpullable");
        }
    }
}
