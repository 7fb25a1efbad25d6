//! Package indexes for the tests: a real nginx, and one of a few lines that misbehaves to order.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rig::process::{Output, Process};

/// How the file is given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// As it should be.
    Good,
    /// The connection ends after so many bytes of each answer.
    Cut(usize),
    /// `Range` is not understood: always the whole.
    Whole,
}

/// What the index holds, and what it asks for.
pub(crate) struct Held {
    pub(crate) page: String,
    pub(crate) file: Vec<u8>,
    pub(crate) manner: Manner,
    /// What `Authorization` has to be.
    pub(crate) password: Option<&'static str>,
}

/// An index that runs until the test ends.
pub(crate) struct Index {
    pub(crate) port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Index {
    /// Serves `held`: the page at addresses that end in `/`, the file at others.
    pub(crate) fn serve(held: Held) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                // Whoever hangs up early has what they wanted.
                drop(answer(&connection.unwrap(), &held, &log));
            }
        });
        Self { port, asked }
    }

    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}/simple", self.port)
    }

    /// The heads of all requests so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(mut connection: &TcpStream, held: &Held, log: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut head = String::new();
    let mut reader = BufReader::new(connection);
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let field = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    };
    log.lock().unwrap().push(head.clone());
    if held.password.is_some() && field("authorization").as_deref() != held.password {
        return connection.write_all(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    }
    if head.split(' ').nth(1).is_some_and(|address| address.ends_with('/')) {
        let (length, kind) = (held.page.len(), "application/vnd.pypi.simple.v1+json");
        write!(
            connection,
            "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        )?;
        return connection.write_all(held.page.as_bytes());
    }
    let range = field("range").filter(|_| held.manner != Manner::Whole);
    let first = range.map_or(0, |range| range.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap());
    if first >= held.file.len() {
        return connection
            .write_all(b"HTTP/1.1 416 Range Not Satisfiable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    }
    let (rest, last, total) = (&held.file[first..], held.file.len() - 1, held.file.len());
    let status = if first > 0 {
        format!("206 Partial Content\r\ncontent-range: bytes {first}-{last}/{total}")
    } else {
        "200 OK".to_owned()
    };
    write!(connection, "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", rest.len())?;
    let end = if let Manner::Cut(most) = held.manner { most.min(rest.len()) } else { rest.len() };
    connection.write_all(&rest[..end])
}

/// nginx, serving `folder`; a page is its `index.json`, else its `index.html`.
pub(crate) struct Nginx {
    _process: Process,
    pub(crate) port: u16,
}

impl Nginx {
    pub(crate) fn serve(folder: &Path) -> Self {
        let port = rig::free_port().unwrap();
        let at = folder.display();
        let configuration = format!(
            "daemon off;\nmaster_process off;\nerror_log {at}/error.log;\npid {at}/nginx.pid;\nevents {{}}\nhttp {{\n\
             log_format short '$request_uri $status $body_bytes_sent';\naccess_log {at}/access.log short;\n\
             types {{ application/vnd.pypi.simple.v1+json json; text/html html; }}\n\
             server {{ listen 127.0.0.1:{port}; root {at}/www; index index.json index.html; }}\n}}\n"
        );
        std::fs::write(folder.join("nginx.conf"), configuration).unwrap();
        let arguments = ["-p", &at.to_string(), "-c", "nginx.conf", "-e", "error.log"].map(String::from);
        let log = folder.join("nginx.log");
        let process = Process::start(Path::new("/usr/sbin/nginx"), &arguments, &log, Output::Logged).unwrap();
        let up = || TcpStream::connect(("127.0.0.1", port)).ok();
        rig::until("nginx to answer", Duration::from_secs(10), up).unwrap();
        Self { _process: process, port }
    }
}
