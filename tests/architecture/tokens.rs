//! Just enough of a lexer to read Rust sources by rule: identifiers, punctuation and text, each with its line.

/// A token of a source file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) line: usize,
    pub(crate) kind: Kind,
    pub(crate) text: String,
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A name or a keyword.
    Word,
    /// `::`, or any other single character.
    Mark,
    /// Text in quotes, without them.
    Text,
}

impl Token {
    /// Whether it is this name or mark; never true of text in quotes.
    pub(crate) fn is(&self, text: &str) -> bool {
        self.kind != Kind::Text && self.text == text
    }
}

/// The tokens of `source`, without comments.
pub(crate) fn tokens(source: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = source;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let (kind, length) = next(rest, first);
        let (taken, left) = rest.split_at(length);
        if let Some(kind) = kind {
            let text = if kind == Kind::Text { inside(taken) } else { taken };
            found.push(Token { line, kind, text: text.to_owned() });
        }
        line += taken.matches('\n').count();
        rest = left;
    }
    found
}

fn next(rest: &str, first: char) -> (Option<Kind>, usize) {
    let while_true = |test: fn(char) -> bool| rest.find(|c| !test(c)).unwrap_or(rest.len());
    if rest.starts_with("//") {
        return (None, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (None, block_comment(rest));
    }
    if let Some(length) = raw_text(rest).or_else(|| quoted(rest)) {
        return (Some(Kind::Text), length);
    }
    if first.is_whitespace() {
        return (None, while_true(char::is_whitespace));
    }
    if first.is_alphanumeric() || first == '_' {
        return (Some(Kind::Word), while_true(|c| c.is_alphanumeric() || c == '_'));
    }
    if first == '\'' {
        return (None, character_or_lifetime(rest));
    }
    (Some(Kind::Mark), if rest.starts_with("::") { 2 } else { first.len_utf8() })
}

/// Block comments nest.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// `r"..."`, `br#"..."#`.
fn raw_text(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix("br").or_else(|| rest.strip_prefix("cr")).or_else(|| rest.strip_prefix('r'))?;
    let hashes = after.find(|c| c != '#')?;
    let body = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = body.find(&end).map_or(body.len(), |at| at + end.len());
    Some(rest.len() - body.len() + length)
}

/// `"..."`, `b"..."`, `c"..."`.
fn quoted(rest: &str) -> Option<usize> {
    let body = ["\"", "b\"", "c\""].iter().find_map(|open| rest.strip_prefix(open))?;
    let mut escaped = false;
    let end = body.char_indices().find(|(_, c)| {
        let closes = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        closes
    });
    Some(rest.len() - body.len() + end.map_or(body.len(), |(at, _)| at + 1))
}

/// `'x'`, `'\n'`, `'\u{1F600}'` as a whole; of `'a` only the quote.
fn character_or_lifetime(rest: &str) -> usize {
    let body = &rest[1..];
    if body.starts_with('\\') {
        return body[2..].find('\'').map_or(rest.len(), |at| at + 4);
    }
    match body.char_indices().nth(1) {
        Some((at, '\'')) => at + 2,
        _ => 1,
    }
}

fn inside(text: &str) -> &str {
    let start = text.find('"').map_or(0, |at| at + 1);
    let end = text.rfind('"').unwrap_or(text.len()).max(start);
    &text[start..end]
}

/// The tokens without modules and functions under `#[cfg(test)]`, and without the attribute itself.
pub(crate) fn without_tests(tokens: &[Token]) -> Vec<Token> {
    const TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let is_test =
            TEST.iter().enumerate().all(|(offset, text)| tokens.get(at + offset).is_some_and(|token| token.is(text)));
        if is_test {
            at = end_of_item(tokens, at + TEST.len());
        } else {
            kept.push(token.clone());
            at += 1;
        }
    }
    kept
}

/// Where the item that begins at `at` ends: behind its `;` or its closing brace.
fn end_of_item(tokens: &[Token], mut at: usize) -> usize {
    let mut depth = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token {
            token if token.is("{") => depth += 1,
            token if token.is("}") => depth -= 1,
            token if token.is(";") && depth == 0 => break,
            _ => continue,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

#[test]
fn reads_what_rust_reads() {
    let source = "use a::b; // c\n/* d /* e */ f */ \"g\\\"h\" r#\"i\"j\"# 'k' '\\n' 'l: loop {}\n'\\u{1F}' m";
    let words: Vec<(usize, String)> =
        tokens(source).into_iter().filter(|token| token.kind != Kind::Mark).map(|t| (t.line, t.text)).collect();
    let expected = [(1, "use"), (1, "a"), (1, "b"), (2, "g\\\"h"), (2, "i\"j"), (2, "l"), (2, "loop"), (3, "m")];
    assert_eq!(words, expected.map(|(line, text)| (line, text.to_owned())));
}
