//! Lists of what the core holds: rows for people, and the same for programs.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::bank::Answer;
use crate::stream::StreamId;

/// How a list of `T` is shown.
pub(super) struct Listing<T, const N: usize> {
    pub(super) heading: [&'static str; N],
    pub(super) row: fn(&T, Names) -> [String; N],
    /// What to say where there is nothing to list.
    pub(super) nothing: &'static str,
}

/// How names of streams are shown: on most servers they are their publishers' keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    /// As in the log.
    Shortened,
    /// As the media server has them.
    Whole,
}

impl Names {
    pub(super) const fn asked(whole: bool) -> Self {
        if whole { Self::Whole } else { Self::Shortened }
    }

    /// Publishers choose the name, and servers what else there is: nothing in it may command a terminal or begin a line.
    pub(super) fn of(self, stream: &StreamId) -> String {
        let name = match self {
            Self::Shortened => stream.to_string(),
            Self::Whole => stream.full(),
        };
        harmless(&name)
    }
}

impl<T: DeserializeOwned, const N: usize> Listing<T, N> {
    /// One answer each for programs; one table for people.
    ///
    /// # Errors
    /// When something listed is not of the form that this release knows.
    pub(super) fn answers(&self, listed: Vec<Value>, names: Names, as_json: bool) -> anyhow::Result<Vec<Answer>> {
        if as_json {
            return Ok(listed.into_iter().map(|json| Answer { text: String::new(), json }).collect());
        }
        let listed = listed.into_iter().map(serde_json::from_value).collect::<Result<Vec<T>, _>>()?;
        let rows: Vec<_> = listed.iter().map(|one| (self.row)(one, names)).collect();
        Ok(vec![Answer { text: table(self.heading, &rows, self.nothing), json: json!({}) }])
    }
}

/// `text` with every control character written out, as `\u{1b}`.
pub(super) fn harmless(text: &str) -> String {
    let written =
        |letter: char| if letter.is_control() { letter.escape_default().to_string() } else { letter.to_string() };
    text.chars().map(written).collect()
}

/// `heading` and `rows`, each column as wide as its widest cell, two spaces apart. Without rows, `nothing`.
pub(super) fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]], nothing: &str) -> String {
    if rows.is_empty() {
        return nothing.to_owned();
    }
    let width = |n: usize| {
        let cells = rows.iter().filter_map(|row| row.get(n)).map(|cell| cell.chars().count());
        cells.chain(heading.get(n).map(|cell| cell.len())).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |cells: [&str; N]| {
        let cells: Vec<_> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    let lines = std::iter::once(line(heading)).chain(rows.iter().map(|row| line(row.each_ref().map(String::as_str))));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_command_the_terminal() {
        let stream = StreamId::new("main", "live\u{1b}[2J", "a\nmain/live/innocent");
        for names in [Names::Shortened, Names::Whole] {
            assert!(!names.of(&stream).contains(char::is_control), "{:?}", names.of(&stream));
        }
        assert_eq!(harmless("añ日"), "añ日");
    }

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let rows = [["a".to_owned(), "wíde".to_owned()], ["longer".to_owned(), String::new()]];
        assert_eq!(table(["ID", "B"], &rows, "none"), "ID      B\na       wíde\nlonger");
        assert_eq!(table(["ID", "B"], &[], "none"), "none");
    }
}
