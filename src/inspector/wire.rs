//! The seam between the core and an inspector process: what is said over their socket, and how it is written.
//!
//! A message is its length in bytes (32 bits, little-endian) and then JSON. Neither side trusts the other's length: more
//! than [`LONGEST`] is refused before anything is allocated. What comes from an inspector has been near strangers' media,
//! so it is read as data only, and a message that makes no sense ends the conversation.

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Event, Setup};
use crate::clock::Timestamp;
use crate::media_server::Pull;
use crate::metrics::Family;
use crate::stream::{Attention, Session};

/// The longest message, in bytes.
pub const LONGEST: usize = 4 * 1024 * 1024;

/// What the core tells an inspector. [`Command::Begin`] is the first, and comes once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Get ready.
    Begin {
        /// With this.
        setup: Box<Setup>,
        /// What the core's clock is set to (see [`crate::clock::Clock::anchor`]).
        anchor: Timestamp,
        /// What the process may take.
        limits: Limits,
    },
    /// Inspect a session.
    Attach {
        /// Which.
        session: Session,
        /// Where it is.
        pull: Pull,
    },
    /// Inspect it no more.
    Detach {
        /// Which.
        session: Session,
    },
    /// Look at it more closely.
    Raise {
        /// Which.
        session: Session,
        /// How closely.
        level: Attention,
        /// From when.
        now: Timestamp,
        /// Until when.
        until: Timestamp,
    },
    /// Say [`Message::Here`].
    Ping,
    /// Finish what is under way, say [`Message::Done`], and end.
    Stop,
}

/// What an inspector tells the core.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// Streams can come; and what the sandbox lacks, if anything.
    Ready {
        /// In words for people.
        lacks: Vec<String>,
    },
    /// It cannot begin, and ends.
    Failed {
        /// Why, in words for people.
        reason: String,
    },
    /// Something was seen.
    Event(Event),
    /// All that it has counted since it began.
    Counted(Vec<Family>),
    /// Commands are heard.
    Here,
    /// Everything was said.
    Done,
}

/// What an inspector process may take at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Open files.
    pub open_files: u64,
    /// Memory of its own, in bytes.
    pub memory: u64,
}

/// Writes one message.
///
/// # Errors
/// When the other side is gone, or the message is longer than [`LONGEST`].
pub fn write(mut to: impl Write, message: &impl Serialize) -> io::Result<()> {
    let mut framed = vec![0; 4];
    serde_json::to_writer(&mut framed, message)?;
    let length = framed.len() - 4;
    if length > LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message is too long to be sent"));
    }
    if let Some(head) = framed.get_mut(..4) {
        head.copy_from_slice(&(length as u32).to_le_bytes());
    }
    to.write_all(&framed)
}

/// Reads one message; `None` where the other side has ended in between two.
///
/// # Errors
/// When the other side ended within a message, or says what makes no sense.
pub fn read<T: DeserializeOwned>(mut from: impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    let mut filled = 0;
    while let Some(rest) = length.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match from.read(rest) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message is longer than may be"));
    }
    // Grows with what really comes, not with what was announced.
    let mut text = Vec::new();
    from.take(length as u64).read_to_end(&mut text)?;
    if text.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(serde_json::from_slice(&text)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::inspector::Progress;
    use crate::media_server::Protocol;
    use crate::stream::{StreamId, UninspectableReason};

    fn session() -> impl Strategy<Value = Session> {
        ("\\PC{0,20}", "\\PC{0,20}")
            .prop_map(|(name, id)| Session { stream: StreamId::new("main", "live", &name), id: id.as_str().into() })
    }

    fn command() -> impl Strategy<Value = Command> {
        prop_oneof![
            (session(), "\\PC{0,60}").prop_map(|(session, url)| Command::Attach {
                pull: Pull { stream: session.stream.clone(), protocol: Protocol::Rtmp, url },
                session,
            }),
            session().prop_map(|session| Command::Detach { session }),
            (session(), any::<u64>(), any::<u64>()).prop_map(|(session, now, until)| Command::Raise {
                session,
                level: Attention::Reported,
                now: Timestamp::from_micros(now),
                until: Timestamp::from_micros(until),
            }),
            Just(Command::Ping),
            Just(Command::Stop),
        ]
    }

    fn message() -> impl Strategy<Value = Message> {
        let progress = (session(), any::<u64>(), any::<u64>(), any::<Option<u64>>()).prop_map(
            |(session, received, inspected, last)| Progress {
                session,
                received,
                inspected,
                last_inspected: last.map(Timestamp::from_micros),
                hindrance: last.map(|_| UninspectableReason::TooLarge),
            },
        );
        prop_oneof![
            prop::collection::vec(progress, 0..5).prop_map(|news| Message::Event(Event::Progress(news))),
            "\\PC{0,60}".prop_map(|reason| Message::Failed { reason }),
            Just(Message::Here),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(commands in prop::collection::vec(command(), 0..5), messages in prop::collection::vec(message(), 0..5)) {
            let mut bytes = Vec::new();
            for command in &commands {
                write(&mut bytes, command).unwrap();
            }
            for message in &messages {
                write(&mut bytes, message).unwrap();
            }
            let mut rest = bytes.as_slice();
            for command in commands {
                prop_assert_eq!(read::<Command>(&mut rest).unwrap(), Some(command));
            }
            for message in messages {
                prop_assert_eq!(read::<Message>(&mut rest).unwrap(), Some(message));
            }
            prop_assert_eq!(read::<Message>(&mut rest).unwrap(), None);
        }

        #[test]
        fn garbage_is_refused(bytes in prop::collection::vec(any::<u8>(), 1..200)) {
            // By chance it may make sense only where it is a whole message.
            if let Ok(Some(message)) = read::<Message>(bytes.as_slice()) {
                let mut again = Vec::new();
                write(&mut again, &message).unwrap();
                prop_assert!(again.len() <= bytes.len() * 2);
            }
        }
    }

    #[test]
    fn a_setup_arrives_as_it_was_sent() {
        let setup = Setup {
            source: crate::source::Config::default(),
            sample: crate::sample::Config::default(),
            decode: crate::decode::Config::default(),
            model: crate::model::Config::default(),
            banks: "/banks".into(),
            folders: vec!["/clips".into()],
            workers: 2,
        };
        let limits = Limits { open_files: 7, memory: 9 };
        let begin = Command::Begin { setup: Box::new(setup), anchor: Timestamp::from_millis(5), limits };
        let mut bytes = Vec::new();
        write(&mut bytes, &begin).unwrap();
        assert_eq!(read::<Command>(bytes.as_slice()).unwrap(), Some(begin));
    }

    #[test]
    fn what_is_cut_short_or_too_long_is_refused_and_nothing_is_allocated_for_it() {
        let mut whole = Vec::new();
        write(&mut whole, &Command::Ping).unwrap();
        for cut in 1..whole.len() {
            assert!(read::<Command>(&whole[..cut]).is_err(), "{cut} bytes");
        }
        for length in [LONGEST as u32 + 1, u32::MAX] {
            let error = read::<Command>([&length.to_le_bytes()[..], b"{}"].concat().as_slice()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
        assert!(read::<Command>([&2_u32.to_le_bytes()[..], b"no"].concat().as_slice()).is_err());
        let long = Message::Failed { reason: "x".repeat(LONGEST) };
        assert!(write(Vec::new(), &long).is_err());
    }
}
