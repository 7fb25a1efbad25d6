//! A media server for `make bench-density`: as many live streams over HTTP-FLV as are asked for, all of one video, each begun
//! at a keyframe and a moment of its own, paced as a publisher paces them.
//!
//! Arguments: an FLV file and how many streams there are. Prints its port. `GET /streams` lists the streams as JSON,
//! `GET /live/NUMBER.flv` is one of them. One thread a viewer: the work done here is not what is measured.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

const HEADER: usize = 9;
const TAG_HEADER: usize = 11;
const SIZE: usize = 4;
const VIDEO: u8 = 9;

/// A video cut into tags.
struct Film {
    /// The file's header, and what a decoder must be told first.
    head: Vec<u8>,
    /// When each tag is due, and the tag with the size that follows it.
    tags: Vec<(Duration, Vec<u8>)>,
    keyframes: Vec<usize>,
    length: Duration,
}

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let path = args.next().context("the first argument is an FLV file")?;
    let streams: usize = args.next().context("the second argument is how many streams there are")?.parse()?;
    let film = Arc::new(Film::read(&std::fs::read(&path).context(path)?)?);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", listener.local_addr()?.port());
    for viewer in listener.incoming() {
        let (viewer, film) = (viewer?, Arc::clone(&film));
        // A viewer who leaves ends their thread.
        std::thread::spawn(move || drop(serve(viewer, &film, streams)));
    }
    Ok(())
}

fn serve(mut viewer: TcpStream, film: &Film, streams: usize) -> Result<()> {
    viewer.set_nodelay(true)?;
    let mut lines = BufReader::new(viewer.try_clone()?).lines();
    let request = lines.next().context("no request")??;
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    let path = request.split(' ').nth(1).unwrap_or_default();
    let number = path.strip_prefix("/live/").and_then(|name| name.strip_suffix(".flv")?.parse().ok());
    if let Some(number) = number.filter(|number| *number < streams) {
        viewer.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\nConnection: close\r\n\r\n")?;
        return film.play(&mut viewer, number);
    }
    let one = |number| json!({ "app": "live", "name": format!("{number}"), "id": format!("{number}") });
    let body = json!({ "streams": (0..streams).map(one).collect::<Vec<_>>() }).to_string();
    let head = format!("Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close", body.len());
    Ok(viewer.write_all(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}").as_bytes())?)
}

impl Film {
    fn read(bytes: &[u8]) -> Result<Self> {
        ensure!(bytes.starts_with(b"FLV"), "this is no FLV file");
        let mut film = Self {
            head: bytes[..HEADER + SIZE].to_vec(),
            tags: Vec::new(),
            keyframes: Vec::new(),
            length: Duration::ZERO,
        };
        let mut rest = &bytes[HEADER + SIZE..];
        while rest.len() > TAG_HEADER {
            let size = usize::from(rest[1]) << 16 | usize::from(rest[2]) << 8 | usize::from(rest[3]);
            let whole = TAG_HEADER + size + SIZE;
            if rest.len() < whole {
                break;
            }
            let (tag, after) = rest.split_at(whole);
            rest = after;
            let millis = u32::from_be_bytes([tag[7], tag[4], tag[5], tag[6]]);
            let (frame, packet) = (tag[TAG_HEADER] >> 4, tag[TAG_HEADER + 1]);
            if tag[0] == VIDEO && packet == 1 {
                if frame == 1 {
                    film.keyframes.push(film.tags.len());
                }
                film.tags.push((Duration::from_millis(millis.into()), tag.to_vec()));
            } else if tag[0] != VIDEO || packet == 0 {
                film.head.extend_from_slice(tag);
            }
        }
        ensure!(film.keyframes.len() > 1, "it takes an H.264 video of several groups of pictures");
        let last = film.tags[film.tags.len() - 1].0;
        film.length = last.saturating_sub(film.tags[0].0) + last / (film.tags.len() as u32 - 1);
        Ok(film)
    }

    /// Plays the film without end, as stream `number`.
    fn play(&self, viewer: &mut TcpStream, number: usize) -> Result<()> {
        viewer.write_all(&self.head)?;
        // Spread evenly, however many there are: multiples of the golden ratio.
        let share = (number as f64 * 0.618_033_988_749_895).fract();
        std::thread::sleep((self.length / self.keyframes.len() as u32).mul_f64(share));
        let first = self.keyframes[number % self.keyframes.len()];
        let began = Instant::now();
        let mut passed = Duration::ZERO;
        let mut buffer = Vec::new();
        for at in (0..self.tags.len()).cycle().skip(first) {
            let (due, tag) = &self.tags[at];
            if at == 0 && (first != 0 || !buffer.is_empty()) {
                passed += self.length;
            }
            let due = (passed + *due).saturating_sub(self.tags[first].0);
            std::thread::sleep(due.saturating_sub(began.elapsed()));
            let [top, a, b, c] = (due.as_millis() as u32).to_be_bytes();
            buffer.clear();
            buffer.extend_from_slice(tag);
            buffer[4..8].copy_from_slice(&[a, b, c, top]);
            viewer.write_all(&buffer)?;
        }
        Ok(())
    }
}
