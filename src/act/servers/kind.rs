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
    /// `ZLMediaKit`.
    #[serde(rename = "zlmediakit")]
    ZlMediaKit,
    /// Ant Media Server, 2.5 or later.
    #[serde(rename = "ant-media")]
    AntMedia,
    /// `LiveKit`, what is published through its ingress.
    #[serde(rename = "livekit")]
    LiveKit,
    /// Amazon Interactive Video Service, low-latency channels.
    #[serde(rename = "aws-ivs")]
    AwsIvs,
    /// Mux Video.
    #[serde(rename = "mux")]
    Mux,
    /// Cloudflare Stream.
    #[serde(rename = "cloudflare-stream")]
    CloudflareStream,
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
    /// What its hooks are for.
    pub hooks: Hooks,
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
    /// It shuts the way in of the stream, after a look that it is still the same publisher; somebody has to open it again.
    Shuts,
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
            Self::Shuts => "a kick shuts the stream's way in, looked at just before, until you open it again",
            Self::Advisory => "a kick and a refusal are advisory",
            Self::Configured => "a kick does what [server.http] says",
        }
    }
}

/// What a server's hooks are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hooks {
    /// They ask whether somebody may publish, and bring the query of the address that is published to.
    Ask,
    /// They only tell, and are signed by the server.
    Tell,
    /// There is none that is of use.
    None,
    /// As the configuration says.
    Configured,
}

/// What happens to those who ask to publish while Sluicegate is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenDown {
    /// Nobody can publish.
    Closed,
    /// Everybody can publish.
    Open,
    /// The same as while it is up: the server asks nobody.
    NeverAsks,
    /// That depends on the server.
    Unknown,
}

impl WhenDown {
    /// For people.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Closed => "fails closed: while Sluicegate is down nobody can publish",
            Self::Open => "fails open: while Sluicegate is down everybody can publish",
            Self::NeverAsks => {
                "fails open: it asks nobody, up or down, and who is denied is cut when the list shows them"
            }
            Self::Unknown => "whether it fails open or closed is for you to find out",
        }
    }
}

impl Kind {
    /// Every kind there is.
    pub const ALL: [Self; 12] = [
        Self::NginxRtmp,
        Self::Srs,
        Self::MediaMtx,
        Self::NodeMediaServer,
        Self::OvenMediaEngine,
        Self::ZlMediaKit,
        Self::AntMedia,
        Self::LiveKit,
        Self::AwsIvs,
        Self::Mux,
        Self::CloudflareStream,
        Self::Http,
    ];

    /// What is to be known of it.
    pub const fn facts(self) -> Facts {
        let usual = Facts {
            word: "nginx-rtmp",
            tested: Tested::Contract,
            kick: Kick::Session,
            hooks: Hooks::Ask,
            when_down: WhenDown::Closed,
            pull: "rtmp://127.0.0.1:1935",
            control: "http://127.0.0.1:8080",
            schemes: &["rtmp"],
        };
        let cloud = Facts { hooks: Hooks::None, when_down: WhenDown::NeverAsks, schemes: &["http", "https"], ..usual };
        match self {
            Self::NginxRtmp => Facts { tested: Tested::Real, ..usual },
            Self::Srs => Facts {
                word: "srs",
                pull: "http://127.0.0.1:8080",
                control: "http://127.0.0.1:1985",
                schemes: &["http", "https", "rtmp", "srt"],
                ..usual
            },
            Self::MediaMtx => {
                Facts { word: "mediamtx", control: "http://127.0.0.1:9997", schemes: &["rtmp", "rtsp", "srt"], ..usual }
            }
            Self::NodeMediaServer => Facts {
                word: "node-media-server",
                tested: Tested::Real,
                kick: Kick::Advisory,
                hooks: Hooks::Ask,
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
            Self::ZlMediaKit => Facts {
                word: "zlmediakit",
                pull: "http://127.0.0.1:80",
                control: "http://127.0.0.1:80",
                schemes: &["http", "https", "rtmp", "rtsp"],
                ..usual
            },
            Self::AntMedia => Facts {
                word: "ant-media",
                kick: Kick::Name,
                pull: "http://127.0.0.1:5080",
                control: "http://127.0.0.1:5080",
                schemes: &["http", "https"],
                ..usual
            },
            Self::LiveKit => Facts {
                word: "livekit",
                kick: Kick::Shuts,
                hooks: Hooks::Tell,
                when_down: WhenDown::NeverAsks,
                control: "http://127.0.0.1:7880",
                schemes: &["rtmp", "http", "https"],
                ..usual
            },
            Self::AwsIvs => Facts {
                word: "aws-ivs",
                kick: Kick::Name,
                pull: "https://playback.live-video.net",
                control: "https://ivs.us-east-1.amazonaws.com",
                ..cloud
            },
            Self::Mux => Facts {
                word: "mux",
                kick: Kick::Shuts,
                hooks: Hooks::Tell,
                pull: "https://stream.mux.com",
                control: "https://api.mux.com",
                ..cloud
            },
            Self::CloudflareStream => Facts {
                word: "cloudflare-stream",
                kick: Kick::Shuts,
                pull: "https://customer-CODE.cloudflarestream.com",
                control: "https://api.cloudflare.com/client/v4/accounts/ACCOUNT",
                ..cloud
            },
            Self::Http => Facts {
                word: "http",
                kick: Kick::Configured,
                hooks: Hooks::Configured,
                when_down: WhenDown::Unknown,
                schemes: &["rtmp", "http", "https", "rtsp", "srt", "file"],
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
