//! The kinds of media servers, and what an operator has to know of each before it is relied on.
//!
//! The facts are shown by `check-config` and `doctor`, and `docs/servers.md` is held to them by a test.

use serde::Deserialize;

/// A kind of media server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Kind {
    /// nginx with libnginx-mod-rtmp.
    #[serde(rename = "nginx-rtmp")]
    NginxRtmp,
    /// SRS (Simple Realtime Server), 5 or later.
    #[serde(rename = "srs")]
    Srs,
    /// `MediaMTX`.
    #[serde(rename = "mediamtx")]
    MediaMtx,
    /// node-media-server, 4 or later.
    #[serde(rename = "node-media-server")]
    NodeMediaServer,
    /// `OvenMediaEngine`.
    #[serde(rename = "oven-media-engine")]
    OvenMediaEngine,
    /// Any server with an HTTP interface, described by `[server.http]`.
    #[serde(rename = "http")]
    Http,
}

/// What an operator has to know of a kind of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The word in `kind`.
    pub word: &'static str,
    /// What the adapter was tested against.
    pub tested: Tested,
    /// What a kick is worth.
    pub kick: Kick,
    /// What happens to those who ask to publish while Sluicegate is down.
    pub when_down: WhenDown,
    /// Where streams are pulled from, unless `pull` says so.
    pub pull: &'static str,
    /// Where it is asked and told, unless `control` says so.
    pub control: &'static str,
    /// What `pull` may begin with.
    pub schemes: &'static [&'static str],
}

/// What an adapter was tested against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tested {
    /// The server itself.
    Real,
    /// Answers made after the server's documentation and sources.
    Contract,
}

impl Tested {
    /// For people.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Real => "tested against the server itself",
            Self::Contract => "contract-tested only, never run against the server itself",
        }
    }
}

/// What a kick is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kick {
    /// It ends one session, named by the server's own identifier.
    Session,
    /// It ends whoever publishes on the name, after a look that it is still the same.
    Name,
    /// It asks one session to end, and a publisher may ignore that.
    Advisory,
    /// As the configuration says.
    Configured,
}

impl Kick {
    /// For people.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Session => "a kick ends one session",
            Self::Name => "a kick ends whoever publishes on the name, looked at just before",
            Self::Advisory => "a kick and a refusal are advisory",
            Self::Configured => "a kick does what [server.http] says",
        }
    }
}

/// What happens to those who ask to publish while Sluicegate is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenDown {
    /// Nobody can publish.
    Closed,
    /// Everybody can publish.
    Open,
    /// That depends on the server.
    Unknown,
}

impl WhenDown {
    /// For people.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Closed => "fails closed: while Sluicegate is down nobody can publish",
            Self::Open => "fails open: while Sluicegate is down everybody can publish",
            Self::Unknown => "whether it fails open or closed is for you to find out",
        }
    }
}

impl Kind {
    /// Every kind there is.
    pub const ALL: [Self; 6] =
        [Self::NginxRtmp, Self::Srs, Self::MediaMtx, Self::NodeMediaServer, Self::OvenMediaEngine, Self::Http];

    /// What is to be known of it.
    pub const fn facts(self) -> Facts {
        let usual = Facts {
            word: "nginx-rtmp",
            tested: Tested::Contract,
            kick: Kick::Session,
            when_down: WhenDown::Closed,
            pull: "rtmp://127.0.0.1:1935",
            control: "http://127.0.0.1:8080",
            schemes: &["rtmp"],
        };
        match self {
            Self::NginxRtmp => Facts { tested: Tested::Real, ..usual },
            Self::Srs => Facts {
                word: "srs",
                pull: "http://127.0.0.1:8080",
                control: "http://127.0.0.1:1985",
                schemes: &["http", "https", "rtmp"],
                ..usual
            },
            Self::MediaMtx => Facts { word: "mediamtx", control: "http://127.0.0.1:9997", ..usual },
            Self::NodeMediaServer => Facts {
                word: "node-media-server",
                tested: Tested::Real,
                kick: Kick::Advisory,
                when_down: WhenDown::Open,
                pull: "http://127.0.0.1:8000",
                control: "http://127.0.0.1:8000",
                schemes: &["http", "https"],
            },
            Self::OvenMediaEngine => Facts {
                word: "oven-media-engine",
                kick: Kick::Name,
                pull: "http://127.0.0.1:3333",
                control: "http://127.0.0.1:8081",
                schemes: &["http", "https"],
                ..usual
            },
            Self::Http => Facts {
                word: "http",
                kick: Kick::Configured,
                when_down: WhenDown::Unknown,
                schemes: &["rtmp", "http", "https"],
                ..usual
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_written_as_its_facts_say() {
        for kind in Kind::ALL {
            let word = toml::Value::String(kind.facts().word.to_owned());
            assert_eq!(word.try_into::<Kind>().unwrap(), kind);
        }
    }
}
