//! The secret step in the path of a server's hooks, `/hooks/NAME/TOKEN`: the one way to know a sender that every kind of
//! server has, because every kind lets an operator write the address that it asks.
//!
//! Without it, whoever reaches the interface can pose as the server: refuse nobody, but end the inspection of a stream by
//! saying that its publisher is gone.

use sha2::{Digest as _, Sha256};

use crate::act::webhook::Secret;

/// The shortest that may be set.
const SHORTEST: usize = 16;
const LONGEST: usize = 128;

/// What a hook must bring in its path. Kept and compared as a digest: how long a comparison takes says nothing about it.
#[derive(Clone, PartialEq, Eq)]
pub struct HookToken([u8; 32]);

impl HookToken {
    /// The token that `secret` is.
    pub fn new(secret: &Secret) -> Self {
        Self(digest(secret.text()))
    }

    /// Whether `sent` is it.
    pub fn is(&self, sent: &str) -> bool {
        digest(sent) == self.0
    }

    /// What is wrong with `secret` as a token.
    pub(super) fn problem(secret: &Secret) -> Option<String> {
        let text = secret.text();
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        (!plain || !(SHORTEST..=LONGEST).contains(&text.len())).then(|| {
            format!(
                "`server.hook_token`: it is a step of an address: use {SHORTEST} to {LONGEST} letters, digits, `-` and `_`, \
                 such as `openssl rand -hex 16` gives"
            )
        })
    }
}

impl std::fmt::Debug for HookToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HookToken(..)")
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        toml::Value::String(text.to_owned()).try_into().unwrap()
    }

    #[test]
    fn only_the_whole_token_is_the_token() {
        let token = HookToken::new(&secret("0123456789abcdef"));
        for (sent, is) in [
            ("0123456789abcdef", true),
            ("0123456789abcde", false),
            ("0123456789abcdef0", false),
            ("0123456789ABCDEF", false),
            ("", false),
        ] {
            assert_eq!(token.is(sent), is, "{sent}");
        }
        assert_eq!(format!("{token:?}"), "HookToken(..)");
    }

    #[test]
    fn a_token_is_long_and_stays_one_step_of_an_address() {
        for (text, sound) in [
            ("0123456789abcdef", true),
            ("0123456789abcde", false),
            ("0123456789abcde/", false),
            ("0123456789abcde?", false),
            ("0123456789abcd..", false),
        ] {
            assert_eq!(HookToken::problem(&secret(text)).is_none(), sound, "{text}");
        }
        assert!(HookToken::problem(&secret(&"x".repeat(129))).is_some());
    }
}
