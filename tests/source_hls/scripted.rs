//! An HTTP server that answers as a test has it, well or badly.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

/// What is answered.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// A status, a head and a body.
    Whole(u16, String, Vec<u8>),
    /// A body that never ends.
    Endless,
    /// A length, and nothing of what it promises.
    Announced(u64),
    /// Nothing at all.
    Silence,
}

impl Answer {
    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::Whole(200, String::new(), body.into())
    }

    pub(crate) fn status(status: u16) -> Self {
        Self::Whole(status, String::new(), Vec::new())
    }

    pub(crate) fn redirect(to: &str) -> Self {
        Self::Whole(302, format!("Location: {to}\r\n"), Vec::new())
    }
}

/// A running server. Its threads end with the test.
pub(crate) struct Scripted {
    port: u16,
}

impl Scripted {
    /// Answers each path as listed, and others with 404.
    pub(crate) fn start(answers: Vec<(&'static str, Answer)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let answers = Arc::new(answers);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let answers = Arc::clone(&answers);
                std::thread::spawn(move || serve(stream, &answers));
            }
        });
        Self { port }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

/// Answers one request, then closes. Whether the other side listened to the end does not matter.
fn serve(mut stream: TcpStream, answers: &[(&'static str, Answer)]) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let first = lines.next().and_then(Result::ok).unwrap_or_default();
    while lines.next().and_then(Result::ok).is_some_and(|line| !line.is_empty()) {}
    let path = first.split(' ').nth(1).unwrap_or_default();
    let answer = answers.iter().find(|(known, _)| *known == path).map(|(_, answer)| answer.clone());
    match answer.unwrap_or(Answer::status(404)) {
        Answer::Whole(status, head, body) => {
            let head =
                format!("HTTP/1.1 {status} X\r\n{head}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            drop(stream.write_all(&[head.into_bytes(), body].concat()));
        }
        Answer::Endless => {
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n#EXTM3U\n"));
            while stream.write_all(&[b'#'; 4096]).is_ok() {}
        }
        Answer::Announced(length) => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            drop(stream.write_all(head.as_bytes()));
            std::thread::park();
        }
        Answer::Silence => std::thread::park(),
    }
}
