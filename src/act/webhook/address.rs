//! Which addresses events may be delivered to: those of the public Internet, unless the configuration says otherwise.
//!
//! Whoever may write a webhook's address, or answers for its name, could else have signed requests sent to what only this
//! machine reaches: a metadata service, a database, its own control API. So it is not the name that is checked but
//! every address that a connection could be made to, when it is made; a name that changes its mind changes nothing.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// IPv4 networks that are not the public Internet (IANA's registry of special purposes), and one address that is, and
/// on one cloud is its machines' metadata service.
const NOT_PUBLIC: &[([u8; 4], u32)] = &[
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([168, 63, 129, 16], 32),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
];

/// What of IPv6 is public at all: everything assigned so far begins with the bits 001.
const GLOBAL: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// And what of that is not.
const NOT_GLOBAL: &[(Ipv6Addr, u32)] = &[
    // IETF protocols, Teredo among them, which carries an IPv4 address.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    // Documentation.
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// IPv6 that leads to an IPv4 address, and how many bits stand behind that.
const EMBEDDED: &[(Ipv6Addr, u32, u32)] = &[
    // Mapped.
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, 0),
    // NAT64.
    (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96, 0),
    // 6to4.
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, 80),
];

/// Whether `ip` is an address of the public Internet, as far as anybody can tell.
pub(super) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !NOT_PUBLIC
            .iter()
            .any(|(network, length)| (ip.to_bits() ^ Ipv4Addr::from(*network).to_bits()) >> (32 - length) == 0),
        IpAddr::V6(ip) => {
            let within =
                |(network, length): &(Ipv6Addr, u32)| (ip.to_bits() ^ network.to_bits()) >> (128 - length) == 0;
            match EMBEDDED.iter().find(|(network, length, _)| within(&(*network, *length))) {
                Some((_, _, behind)) => is_public(Ipv4Addr::from_bits((ip.to_bits() >> behind) as u32).into()),
                None => within(&GLOBAL) && !NOT_GLOBAL.iter().any(within),
            }
        }
    }
}

/// Whether `url` names an address that is not public. A name says nothing until it is looked up.
pub(super) fn names_private(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => !is_public(ip.into()),
        Some(Host::Ipv6(ip)) => !is_public(ip.into()),
        Some(Host::Domain(_)) | None => false,
    }
}

/// No address of the host is public.
#[derive(Debug, thiserror::Error)]
#[error("no address of its host is public")]
pub(super) struct NotPublic;

/// Whether this is why a request failed.
pub(super) fn refused(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<NotPublic>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Looks names up as the system does, and gives public addresses only: no others are connected to.
#[derive(Debug)]
pub(super) struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public = public(found)?;
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

fn public(found: impl Iterator<Item = SocketAddr>) -> Result<Vec<SocketAddr>, NotPublic> {
    let public: Vec<_> = found.filter(|address| is_public(address.ip())).collect();
    if public.is_empty() { Err(NotPublic) } else { Ok(public) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_public_and_what_is_not() {
        for public in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "168.63.129.15",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00::1",
            "2001:200::1",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
            "2002:101:101::1",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for private in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.100.100.200",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.168.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "239.255.255.255",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:0:127.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "4000::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
    }

    proptest! {
        /// The standard library knows most networks by name.
        #[test]
        fn nothing_that_the_standard_library_calls_special_is_public(bits: u32, near in 0..NOT_PUBLIC.len()) {
            let (network, length) = NOT_PUBLIC[near];
            let inside = Ipv4Addr::from(network).to_bits() | bits.checked_shr(length).unwrap_or(0);
            for ip in [bits, inside].map(Ipv4Addr::from_bits) {
                let special = ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_multicast()
                    || ip.is_broadcast() || ip.is_documentation() || ip.is_unspecified();
                prop_assert!(!(special && is_public(ip.into())), "{ip}");
                prop_assert_eq!(is_public(ip.to_ipv6_mapped().into()), is_public(ip.into()), "{}", ip);
            }
            prop_assert!(!is_public(Ipv4Addr::from_bits(inside).into()));
        }
    }

    #[test]
    fn however_an_address_is_written_it_is_seen_through() {
        for private in [
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f.0.0.1/",
            "http://[::ffff:7f00:1]/",
            "http://127.0.0.1./",
        ] {
            assert!(names_private(&private.parse().unwrap()), "{private}");
        }
        assert!(!names_private(&"http://8.8.8.8/".parse().unwrap()));
        assert!(!names_private(&"http://moderation.example/".parse().unwrap()));
    }

    #[test]
    fn of_several_addresses_only_public_ones_are_connected_to() {
        let found = ["10.0.0.1:0", "1.1.1.1:0", "[::1]:0"].map(|address| address.parse().unwrap());
        assert_eq!(public(found.into_iter()).unwrap(), ["1.1.1.1:0".parse().unwrap()]);
        public(["127.0.0.1:0".parse().unwrap()].into_iter()).unwrap_err();
    }
}
