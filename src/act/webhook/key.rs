//! What events are signed with, after Standard Webhooks: `HMAC-SHA256` with a secret that the receiver has too, or
//! Ed25519 with a private key whose public half the receiver has.
//!
//! A webhook may have several keys. Each signs every delivery and a receiver needs to know one of them, so a key is
//! replaced without a delivery lost: the new one is added, receivers learn it, the old one is removed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use sha2::Sha256;

/// More are a mistake: every delivery carries a signature of each.
const MOST: usize = 4;
/// Bytes of an HMAC secret, as Standard Webhooks bound them.
const SECRET_LENGTH: std::ops::RangeInclusive<usize> = 24..=64;
/// Bytes of an Ed25519 private key.
const SEED_LENGTH: usize = 32;

/// How a new key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// Both sides have the secret.
    Hmac,
    /// The receiver has a public key, and cannot sign itself.
    Ed25519,
}

/// A new key as it is written into the configuration, and the public key that its receiver needs, if it is not the same.
///
/// # Errors
/// When the system gives no random numbers.
pub fn generate(algorithm: Algorithm) -> Result<(String, Option<String>), String> {
    let mut bytes = [0; SEED_LENGTH];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes)
        .map_err(|_unspecified| "the system gives no random numbers: try again".to_owned())?;
    let encoded = BASE64.encode(bytes);
    match algorithm {
        Algorithm::Hmac => Ok((format!("whsec_{encoded}"), None)),
        Algorithm::Ed25519 => {
            let text = format!("whsk_{encoded}");
            let public = Keys::parse(&text)?.public();
            Ok((text, public.into_iter().next()))
        }
    }
}

/// All keys of a webhook, at least one.
pub(super) struct Keys(Vec<Key>);

enum Key {
    Hmac(Vec<u8>),
    Ed25519(Box<Ed25519KeyPair>),
}

impl Keys {
    /// Reads keys with white space between them.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let keys = text.split_whitespace().map(key).collect::<Result<Vec<_>, _>>()?;
        match keys.len() {
            0 => Err("there is no key in it"),
            1..=MOST => Ok(Self(keys)),
            _ => Err("there are more than four keys in it"),
        }
    }

    /// The header `webhook-signature`: one signature a key.
    pub(super) fn sign(&self, id: &str, seconds: u64, body: &str) -> String {
        let signed = format!("{id}.{seconds}.{body}");
        self.0.iter().map(|key| key.sign(signed.as_bytes())).collect::<Vec<_>>().join(" ")
    }

    /// The public keys, for the receiver; none for HMAC.
    pub(super) fn public(&self) -> Vec<String> {
        let public = |key: &Key| match key {
            Key::Hmac(_) => None,
            Key::Ed25519(pair) => Some(format!("whpk_{}", BASE64.encode(pair.public_key()))),
        };
        self.0.iter().filter_map(public).collect()
    }
}

impl Key {
    fn sign(&self, message: &[u8]) -> String {
        match self {
            Self::Hmac(secret) => {
                #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
                let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("a key");
                mac.update(message);
                format!("v1,{}", BASE64.encode(mac.finalize().into_bytes()))
            }
            Self::Ed25519(pair) => format!("v1a,{}", BASE64.encode(pair.sign(message))),
        }
    }
}

fn key(text: &str) -> Result<Key, &'static str> {
    if let Some(encoded) = text.strip_prefix("whsec_") {
        let secret = BASE64.decode(encoded).ok().ok_or("what follows whsec_ is not base64")?;
        if SECRET_LENGTH.contains(&secret.len()) { Ok(Key::Hmac(secret)) } else { Err("it is not 24 to 64 bytes long") }
    } else if let Some(encoded) = text.strip_prefix("whsk_") {
        let bytes = BASE64.decode(encoded).ok().ok_or("what follows whsk_ is not base64")?;
        // Some write the public key behind the private one.
        let pair = match bytes.split_at_checked(SEED_LENGTH) {
            Some((seed, [])) => Ed25519KeyPair::from_seed_unchecked(seed),
            Some((seed, public)) => Ed25519KeyPair::from_seed_and_public_key(seed, public),
            None => return Err("a private key is not 32 or 64 bytes long"),
        };
        Ok(Key::Ed25519(Box::new(pair.ok().ok_or("a private key and its public key do not belong together")?)))
    } else if text.starts_with("whpk_") {
        Err("it begins with whpk_: that is the public key, which the receiver has")
    } else {
        Err("it does not begin with whsec_ or whsk_")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's own libraries.
    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    /// The first test vector of RFC 8032, 7.1.
    const SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    const PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

    fn whsk(hexadecimal: &str) -> String {
        format!("whsk_{}", BASE64.encode(hex::decode(hexadecimal).unwrap()))
    }

    #[test]
    fn signs_as_the_published_example_does() {
        let body = r#"{"email":"test@example.com","username":"test_user"}"#;
        let signature = Keys::parse(SECRET).unwrap().sign("msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", 1_649_367_553, body);
        assert_eq!(signature, "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
    }

    #[test]
    fn a_public_key_is_the_one_that_the_standard_gives() {
        let public = format!("whpk_{}", BASE64.encode(hex::decode(PUBLIC).unwrap()));
        for text in [whsk(SEED), whsk(&format!("{SEED}{PUBLIC}"))] {
            assert_eq!(Keys::parse(&text).unwrap().public(), [public.clone()]);
        }
    }

    #[test]
    fn every_key_signs_in_the_order_given() {
        let keys = Keys::parse(&format!("{}\n{SECRET}\n", whsk(SEED))).unwrap();
        let (both, old) = (keys.sign("id", 1, "{}"), Keys::parse(SECRET).unwrap().sign("id", 1, "{}"));
        let (ed25519, hmac) = both.split_once(' ').unwrap();
        assert!(ed25519.starts_with("v1a,"), "{both}");
        assert_eq!(hmac, old);
    }

    #[test]
    fn a_new_key_can_be_used_and_is_never_the_same() {
        for algorithm in [Algorithm::Hmac, Algorithm::Ed25519] {
            let (text, public) = generate(algorithm).unwrap();
            assert_eq!(Keys::parse(&text).unwrap().public(), Vec::from_iter(public));
            assert_ne!(text, generate(algorithm).unwrap().0);
        }
    }

    #[test]
    fn what_is_no_key_is_said_to_be_none() {
        let swapped = whsk(&format!("{SEED}{SEED}"));
        let many = [SECRET; 5].join(" ");
        for (text, said) in [
            ("", "no key"),
            (" \n", "no key"),
            ("C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "begin with whsec_"),
            ("whsec_C2FV*", "not base64"),
            ("whsec_C2FV", "24 to 64"),
            ("whsk_C2FV", "32 or 64"),
            ("whsk_*", "not base64"),
            ("whpk_C2FV", "public key"),
            (&swapped, "belong together"),
            (&many, "more than four"),
        ] {
            let refused = Keys::parse(text).err().unwrap();
            assert!(refused.contains(said), "{text}: {refused}");
        }
    }
}
