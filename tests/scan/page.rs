//! Reads a report as a browser would, to tell what it would load or run.

use quick_xml::events::Event;

/// What of a page a browser would load or run, and the text in it. The page is well-formed XML too.
pub(crate) fn read_page(html: &str) -> (Vec<String>, String) {
    let (mut dangers, mut text) = (Vec::new(), String::new());
    let mut reader = quick_xml::Reader::from_str(html);
    let mut depth = 0;
    loop {
        let event = reader.read_event().unwrap();
        depth += match &event {
            Event::Start(_) => 1,
            Event::End(_) => -1,
            _ => 0,
        };
        match event {
            Event::Start(element) | Event::Empty(element) => {
                let name = element.name().as_ref().to_owned();
                if ["script", "link", "iframe", "object", "embed", "base", "form"].contains(&name.as_str()) {
                    dangers.push(name);
                }
                for attribute in element.attributes().map(Result::unwrap) {
                    let key = attribute.key.as_ref().to_owned();
                    let value = attribute.value.into_owned();
                    let loads = matches!(key.as_str(), "src" | "href" | "srcset" | "action" | "data" | "style");
                    if key.starts_with("on") || loads && !value.starts_with("data:image/png;base64,") {
                        dangers.push(format!("{key}={value}"));
                    }
                }
            }
            Event::Text(more) => text.push_str(&more),
            Event::GeneralRef(name) => text.extend(["&", &*name, ";"]),
            Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!(depth, 0, "every element is closed");
    (dangers, text)
}
