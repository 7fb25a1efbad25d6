//! Which addresses a playlist may send us to: all but those that only ever lead to a machine's own secrets.
//!
//! A playlist names its segments by address, and content networks use other hosts for them, so it may name any host. But
//! a link-local address leads to the metadata service of a cloud, which gives credentials to whoever asks; so do a few
//! others. They are refused wherever a connection could be made to them: in an address, in a redirect, and in what a
//! name is looked up as. Only where the configured address itself is link-local are link-local ones let through.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// Metadata services that have no link-local address.
const METADATA: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// How far a playlist may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Everywhere but to link-local addresses and metadata services.
    Normal,
    /// Everywhere: the configured address is such a one itself.
    LinkLocal,
}

impl Reach {
    /// How far the playlist at the configured `url` may reach.
    pub(super) fn of(url: &Url) -> Self {
        if address(url).is_some_and(is_off_limits) { Self::LinkLocal } else { Self::Normal }
    }

    /// Whether `url` may be asked for. A name says nothing until it is looked up.
    pub(super) fn allows(self, url: &Url) -> bool {
        matches!(url.scheme(), "http" | "https")
            && (self == Self::LinkLocal || !address(url).is_some_and(is_off_limits))
    }
}

fn address(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(ip) => Some(ip.into()),
        Host::Ipv6(ip) => Some(ip.into()),
        Host::Domain(_) => None,
    }
}

fn is_off_limits(ip: IpAddr) -> bool {
    METADATA.contains(&ip)
        || match ip {
            IpAddr::V4(ip) => ip.is_link_local(),
            IpAddr::V6(ip) => {
                ip.is_unicast_link_local() || embedded(ip).is_some_and(|inner| is_off_limits(inner.into()))
            }
        }
}

/// The IPv4 address that an IPv6 address leads to: mapped, by NAT64, or by 6to4.
fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let last = |bits: u128| Ipv4Addr::from_bits(bits as u32);
    match ip.segments() {
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(last(ip.to_bits())),
        [0x2002, ..] => Some(last(ip.to_bits() >> 80)),
        _ => None,
    }
}

/// Every address of the host is off limits.
#[derive(Debug, thiserror::Error)]
#[error("it leads to a link-local address or a metadata service, which no playlist may name")]
pub(super) struct OffLimits;

/// Looks names up as the system does, and leaves out what is off limits.
#[derive(Debug)]
pub(super) struct Lookup;

impl Resolve for Lookup {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed = within_limits(found)?;
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

fn within_limits(found: impl Iterator<Item = SocketAddr>) -> Result<Vec<SocketAddr>, OffLimits> {
    let allowed: Vec<_> = found.filter(|address| !is_off_limits(address.ip())).collect();
    if allowed.is_empty() { Err(OffLimits) } else { Ok(allowed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_playlist_may_name_any_host_but_those_that_give_secrets() {
        for (url, allowed) in [
            ("http://cdn.example/a.ts", true),
            ("https://10.0.0.1/a.ts", true),
            ("http://127.0.0.1:8080/a.ts", true),
            ("http://[::1]/a.ts", true),
            ("http://169.253.255.255/", true),
            ("http://169.254.169.254/latest/meta-data", false),
            ("http://2852039166/", false),
            ("http://0xa9.0xfe.0.1/", false),
            ("http://[fe80::1]/", false),
            ("http://[febf::1]/", false),
            ("http://[fec0::1]/", true),
            ("http://[::ffff:169.254.169.254]/", false),
            ("http://[64:ff9b::a9fe:a9fe]/", false),
            ("http://[2002:a9fe:a9fe::]/", false),
            ("http://[fd00:ec2::254]/", false),
            ("http://100.100.100.200/", false),
            ("http://168.63.129.16/", false),
            ("file:///etc/passwd", false),
            ("ftp://cdn.example/a.ts", false),
            ("data:text/plain,a", false),
        ] {
            assert_eq!(Reach::Normal.allows(&url.parse().unwrap()), allowed, "{url}");
        }
    }

    #[test]
    fn what_a_name_is_looked_up_as_is_looked_at_too() {
        let found = ["169.254.169.254:0", "10.0.0.1:0", "[fe80::1]:0"].map(|address| address.parse().unwrap());
        assert_eq!(within_limits(found.into_iter()).unwrap(), ["10.0.0.1:0".parse().unwrap()]);
        within_limits(["169.254.169.254:0".parse().unwrap()].into_iter()).unwrap_err();
    }

    #[test]
    fn a_playlist_at_a_link_local_address_may_name_others() {
        for (configured, reach) in [
            ("http://169.254.7.7/live/a.m3u8", Reach::LinkLocal),
            ("http://[fe80::7]/live/a.m3u8", Reach::LinkLocal),
            ("http://media.example/live/a.m3u8", Reach::Normal),
            ("http://127.0.0.1/live/a.m3u8", Reach::Normal),
        ] {
            assert_eq!(Reach::of(&configured.parse().unwrap()), reach, "{configured}");
        }
        assert!(Reach::LinkLocal.allows(&"http://169.254.7.8/a.ts".parse().unwrap()));
        assert!(!Reach::LinkLocal.allows(&"file:///etc/passwd".parse().unwrap()));
    }
}
