//! A web server that answers as a test says, and that can fall silent in the middle of an answer.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::mpsc::{Receiver, sync_channel};

/// Answers each request with what `answer` makes of its first line; whether the whole is sent, or it then falls silent.
pub(crate) fn serve(answer: impl Fn(&str) -> (Vec<u8>, Whole) + Send + 'static) -> (u16, Receiver<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sent, silent) = sync_channel(8);
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for peer in listener.incoming() {
            let Ok(mut peer) = peer else { continue };
            let mut request = [0; 4096];
            let Ok(length) = peer.read(&mut request) else { continue };
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let (bytes, whole) = answer(&request);
            let gone = peer.write_all(&bytes).is_err();
            if whole == Whole::No && !gone {
                // The peer waits for the rest until this thread ends with the test.
                kept.push(peer);
                sent.send(()).ok();
            }
        }
    });
    (port, silent)
}

#[derive(PartialEq)]
pub(crate) enum Whole {
    Yes,
    No,
}

pub(crate) fn file(bytes: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", bytes.len());
    [head.as_bytes(), bytes].concat()
}
