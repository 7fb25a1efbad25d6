//! Which class a stream is of: news, education, art, research, or what the platform calls its own. Rules weigh it.
//!
//! A pattern is compared with the whole name, `server/app/name`: `*` is any run of characters without a slash, `**` any
//! run, `?` one character that is no slash. Where several match, the most specific wins: the one with the most characters
//! that are no wildcards; among equals, the first in the configuration. A name that a publisher chooses can be chosen to
//! match, so a pattern names what the platform gives out itself. The work is bounded by the product of both lengths,
//! whatever a publisher calls the stream.

use std::sync::Arc;

use serde::Deserialize;

use crate::stream::StreamId;

/// A section `[[class]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What rules and decisions call it.
    pub name: Arc<str>,
    /// Patterns of the streams that are of it.
    pub streams: Vec<String>,
}

impl Config {
    /// What makes no sense: the key, and what to do.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if self.name.trim().is_empty() {
            problems.push(("name", "a class needs a name, such as \"news\"".to_owned()));
        }
        if self.streams.is_empty() {
            problems.push(("streams", "no stream is of this class: name some, or remove the class".to_owned()));
        }
        let short = |pattern: &&String| pattern.matches('/').count() < 2 && !pattern.contains("**");
        problems.extend(self.streams.iter().filter(short).map(|pattern| {
            ("streams", format!("`{pattern}` matches no stream: write server/app/name, such as \"main/live/news-*\""))
        }));
        problems
    }
}

/// All classes.
#[derive(Debug, Default)]
pub(super) struct Classes(Vec<(Vec<Token>, Arc<str>)>);

/// A piece of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Exactly(char),
    AnyOne,
    AnyRun,
    AnyPath,
}

impl Classes {
    /// The most specific patterns come first, so the first that matches is the one.
    pub(super) fn new(config: &[Config]) -> Self {
        let patterns = |class: &Config| {
            let name = Arc::clone(&class.name);
            class.streams.iter().map(move |pattern| (tokens(pattern), Arc::clone(&name))).collect::<Vec<_>>()
        };
        let mut all: Vec<_> = config.iter().flat_map(patterns).collect();
        all.sort_by_key(|(pattern, _)| std::cmp::Reverse(specificity(pattern)));
        Self(all)
    }

    /// The class of `stream`.
    pub(super) fn of(&self, stream: &StreamId) -> Option<Arc<str>> {
        if self.0.is_empty() {
            return None;
        }
        let name: Vec<char> = stream.full().chars().collect();
        self.0.iter().find(|(pattern, _)| matches(pattern, &name)).map(|(_, class)| Arc::clone(class))
    }
}

fn tokens(pattern: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    for letter in pattern.chars() {
        match (letter, tokens.last_mut()) {
            ('*', Some(last @ Token::AnyRun)) => *last = Token::AnyPath,
            ('*', Some(Token::AnyPath)) => {}
            ('*', _) => tokens.push(Token::AnyRun),
            ('?', _) => tokens.push(Token::AnyOne),
            (letter, _) => tokens.push(Token::Exactly(letter)),
        }
    }
    tokens
}

fn specificity(pattern: &[Token]) -> usize {
    pattern.iter().filter(|token| matches!(token, Token::Exactly(_))).count()
}

/// Keeps, for each place in the name, whether the tokens so far can end there.
fn matches(pattern: &[Token], name: &[char]) -> bool {
    let mut ends = vec![false; name.len() + 1];
    if let Some(start) = ends.first_mut() {
        *start = true;
    }
    for token in pattern {
        let takes = |letter: char| match token {
            Token::Exactly(one) => letter == *one,
            Token::AnyOne | Token::AnyRun => letter != '/',
            Token::AnyPath => true,
        };
        let repeats = matches!(token, Token::AnyRun | Token::AnyPath);
        let mut next = Vec::with_capacity(ends.len());
        let mut before = false;
        for (place, ended) in ends.iter().enumerate() {
            // What ended one letter ago goes on by that letter; a run may also take nothing.
            let letter = place.checked_sub(1).and_then(|at| name.get(at));
            let goes_on = letter.is_some_and(|letter| takes(*letter)) && before;
            let ends_here = goes_on || (repeats && *ended);
            next.push(ends_here);
            before = if repeats { ends_here } else { *ended };
        }
        ends = next;
    }
    ends.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn class(config: &str, stream: &StreamId) -> Option<String> {
        #[derive(Deserialize)]
        struct Sections {
            class: Vec<Config>,
        }
        let sections: Sections = toml::from_str(config).unwrap();
        assert!(sections.class.iter().all(|class| class.problems().is_empty()));
        Classes::new(&sections.class).of(stream).map(|class| class.to_string())
    }

    #[test]
    fn the_most_specific_pattern_names_the_class() {
        let config = "
            [[class]]\nname = 'news'\nstreams = ['main/live/news-*', 'main/press/*']
            [[class]]\nname = 'art'\nstreams = ['main/live/news-gallery*', '**/opera']
            [[class]]\nname = 'minor'\nstreams = ['main/live/cam?']
            [[class]]\nname = 'second'\nstreams = ['main/press/*']";
        for (app, name, expected) in [
            ("live", "news-1", Some("news")),
            ("live", "news-gallery-2", Some("art")),
            ("press", "anything", Some("news")),
            ("a/b/c", "opera", Some("art")),
            ("live", "cam1", Some("minor")),
            ("live", "cam10", None),
            ("live", "xnews-1", None),
            ("live/news-a", "b", None),
            ("live", "NEWS-1", None),
            ("live", "", None),
        ] {
            let found = class(config, &StreamId::new("main", app, name));
            assert_eq!(found.as_deref(), expected, "{app}/{name}");
        }
    }

    #[test]
    fn what_could_never_match_is_said() {
        for (streams, says) in [(vec![], "no stream"), (vec!["news-*".to_owned()], "server/app/name")] {
            let problems = Config { name: "news".into(), streams }.problems();
            assert!(problems.len() == 1 && problems[0].1.contains(says), "{problems:?}");
        }
        assert_eq!(Config { name: " ".into(), streams: vec!["**".to_owned()] }.problems()[0].0, "name");
    }

    #[test]
    fn a_hostile_name_costs_no_more_than_its_length() {
        let pattern = tokens(&"*a".repeat(40));
        let name: Vec<char> = "a".repeat(4096).chars().chain(['b']).collect();
        assert!(!matches(&pattern, &name));
    }

    /// The twin: tries everything.
    fn slow(pattern: &[Token], name: &[char]) -> bool {
        let Some((token, rest)) = pattern.split_first() else { return name.is_empty() };
        let one = |takes: fn(char) -> bool| name.split_first().filter(|(letter, _)| takes(**letter));
        match token {
            Token::Exactly(letter) => name.first() == Some(letter) && slow(rest, &name[1..]),
            Token::AnyOne => one(|letter| letter != '/').is_some_and(|(_, name)| slow(rest, name)),
            Token::AnyRun => slow(rest, name) || one(|l| l != '/').is_some_and(|(_, name)| slow(pattern, name)),
            Token::AnyPath => slow(rest, name) || one(|_| true).is_some_and(|(_, name)| slow(pattern, name)),
        }
    }

    proptest! {
        #[test]
        fn agrees_with_trying_everything(pattern in "[ab/*?]{0,8}", name in "[ab/]{0,8}") {
            let (pattern, name) = (tokens(&pattern), name.chars().collect::<Vec<_>>());
            prop_assert_eq!(matches(&pattern, &name), slow(&pattern, &name));
        }
    }
}
