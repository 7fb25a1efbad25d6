//! A receiver of webhooks that takes one request at a time and answers as it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::until;

/// What a webhook was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// `webhook-id`.
    pub id: String,
    /// `webhook-timestamp`.
    pub timestamp: String,
    /// `webhook-signature`.
    pub signature: String,
    /// The body.
    pub body: String,
}

impl Delivery {
    /// Takes one request and answers it, such as with `204 No Content`.
    ///
    /// # Errors
    /// When none comes within `patience`, or it is no delivery.
    pub fn receive(listener: &TcpListener, answer: &str, patience: Duration) -> Result<Self> {
        listener.set_nonblocking(true)?;
        let (caller, _) = until("a delivery", patience, || listener.accept().ok())?;
        caller.set_nonblocking(false)?;
        let mut reader = BufReader::new(&caller);
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let line = line.trim_end().to_owned();
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        let header = |name: &str| {
            let mut fields = lines.iter().filter_map(|line| line.split_once(": "));
            let found = fields.find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_owned()).with_context(|| format!("no {name}"))
        };
        let mut body = vec![0; header("content-length")?.parse()?];
        reader.read_exact(&mut body)?;
        write!(&caller, "HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
        Ok(Self {
            id: header("webhook-id")?,
            timestamp: header("webhook-timestamp")?,
            signature: header("webhook-signature")?,
            body: String::from_utf8(body)?,
        })
    }
}
