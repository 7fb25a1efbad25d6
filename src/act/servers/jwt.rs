//! JSON Web Tokens signed with HMAC-SHA256 (RFC 7519, `HS256`), as `LiveKit` and Ant Media Server want them and as
//! `LiveKit` signs its webhooks. No other algorithm is ever accepted, `none` least of all.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::clock::Timestamp;

/// How far the clocks of two machines may be apart, in seconds.
const SKEW: u64 = 60;

/// A token that says `claims`, signed with `secret`. `None` where the secret cannot be a key, which none is refused as.
pub(super) fn sign(secret: &[u8], claims: &Value) -> Option<String> {
    let head = BASE64.encode(json!({ "alg": "HS256", "typ": "JWT" }).to_string());
    let signed = format!("{head}.{}", BASE64.encode(claims.to_string()));
    let mac = Hmac::<Sha256>::new_from_slice(secret).ok()?.chain_update(&signed);
    Some(format!("{signed}.{}", BASE64.encode(mac.finalize().into_bytes())))
}

/// What `token` claims, if it is signed with `secret` and in force at `now`.
pub(super) fn verified(secret: &[u8], token: &str, now: Timestamp) -> Option<Value> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (head, claims) = signed.split_once('.')?;
    let mac = Hmac::<Sha256>::new_from_slice(secret).ok()?.chain_update(signed);
    mac.verify_slice(&BASE64.decode(signature).ok()?).ok()?;
    let read = |part: &str| serde_json::from_slice::<Value>(&BASE64.decode(part).ok()?).ok();
    if read(head)?.get("alg")? != "HS256" {
        return None;
    }
    let claims = read(claims)?;
    let now = seconds(now);
    // A token without an end would be good for ever to whoever overheard it once.
    let ends = claims.get("exp").and_then(Value::as_u64)?;
    let begins = claims.get("nbf").and_then(Value::as_u64).unwrap_or(0);
    (now <= ends.saturating_add(SKEW) && begins <= now.saturating_add(SKEW)).then_some(claims)
}

/// Seconds since the Unix epoch, as tokens count.
pub(super) const fn seconds(at: Timestamp) -> u64 {
    at.as_micros() / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    /// The example of RFC 7515, appendix A.1: its own key, order and spaces.
    #[test]
    fn the_token_of_the_standard_is_believed_until_it_ends() {
        let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxl\
                     LmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let key = BASE64.decode(key).unwrap();
        assert_eq!(verified(&key, token, at(1_300_819_380)).unwrap()["iss"], "joe");
        assert_eq!(verified(&key, token, at(1_300_819_441)), None);
        assert_eq!(verified(b"joe", token, at(1_300_819_380)), None);
    }

    #[test]
    fn what_was_signed_is_believed_while_it_is_in_force() {
        let token = sign(b"secret", &json!({ "iss": "joe", "nbf": 1000, "exp": 1100 })).unwrap();
        for (now, believed) in [(900, false), (940, true), (1000, true), (1160, true), (1161, false)] {
            assert_eq!(verified(b"secret", &token, at(now)).is_some(), believed, "{now}");
        }
        assert_eq!(verified(b"secret", &token, at(1000)).unwrap()["iss"], "joe");
        assert_eq!(verified(b"Secret", &token, at(1000)), None);
    }

    #[test]
    fn no_token_gets_past_its_signature() {
        let good = sign(b"secret", &json!({ "exp": 1100 })).unwrap();
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let (_, claims) = signed.split_once('.').unwrap();
        let none = BASE64.encode(r#"{"alg":"none"}"#);
        for forged in [
            format!("{none}.{claims}."),
            format!("{none}.{claims}.{signature}"),
            format!("{signed}."),
            format!("{signed}.{signature}x"),
            signed.to_owned(),
            String::new(),
            "..".to_owned(),
        ] {
            assert_eq!(verified(b"secret", &forged, at(1000)), None, "{forged}");
        }
        let endless = sign(b"secret", &json!({ "iss": "joe" })).unwrap();
        assert_eq!(verified(b"secret", &endless, at(1000)), None);
    }
}
