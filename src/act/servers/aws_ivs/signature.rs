//! AWS Signature Version 4, for a POST of a body that fits into memory: who asks, for what, when, and with which body.
//!
//! From "Signature Version 4 signing process" in the AWS documentation. A few lines of HMAC instead of a kit with its own
//! HTTP client; held to the examples of that documentation by its tests. Nothing is asked of a clock here.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::clock::Timestamp;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Who asks, and where.
pub(super) struct Credentials {
    /// The access key's identifier.
    pub(super) key: String,
    /// The secret access key.
    pub(super) secret: String,
    pub(super) region: String,
    pub(super) service: &'static str,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("region", &self.region).finish_non_exhaustive()
    }
}

/// The headers that a POST of `body` to `url` at `now` needs. `url` must have no query and a path of unreserved
/// characters, as every operation of the services has that are spoken to here.
pub(super) fn signed(
    credentials: &Credentials,
    url: &Url,
    content_type: &'static str,
    body: &str,
    now: Timestamp,
) -> [(&'static str, String); 3] {
    let Credentials { key, secret, region, service } = credentials;
    let at = compact(now);
    let day = at.get(..8).unwrap_or_default();
    let host = url.host_str().unwrap_or_default();
    let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let names = "content-type;host;x-amz-date";
    let request = format!(
        "POST\n{}\n\ncontent-type:{content_type}\nhost:{host}\nx-amz-date:{at}\n\n{names}\n{}",
        url.path(),
        hex::encode(Sha256::digest(body))
    );
    let scope = format!("{day}/{region}/{service}/aws4_request");
    let text = format!("{ALGORITHM}\n{at}\n{scope}\n{}", hex::encode(Sha256::digest(request)));
    let steps = [day, region, service, "aws4_request", &text];
    let signature = steps.iter().fold(format!("AWS4{secret}").into_bytes(), |key, step| mac(&key, step));
    let authorization =
        format!("{ALGORITHM} Credential={key}/{scope}, SignedHeaders={names}, Signature={}", hex::encode(signature));
    [("content-type", content_type.to_owned()), ("x-amz-date", at), ("authorization", authorization)]
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    // A key of any length is one: the way out is never taken, and would only be refused there.
    let mac = Hmac::<Sha256>::new_from_slice(key).map(|mac| mac.chain_update(text));
    mac.map(|mac| mac.finalize().into_bytes().to_vec()).unwrap_or_default()
}

/// `20150830T123600Z`.
fn compact(at: Timestamp) -> String {
    let shown = at.to_string();
    let seconds = shown.split('.').next().unwrap_or_default();
    seconds.chars().filter(|c| !matches!(c, '-' | ':')).chain(['Z']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(service: &'static str, url: &str, content_type: &'static str, body: &str, at: u64) -> String {
        let credentials = Credentials {
            key: "AKIDEXAMPLE".to_owned(),
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
            region: "us-east-1".to_owned(),
            service,
        };
        let [_, _, (_, authorization)] =
            signed(&credentials, &url.parse().unwrap(), content_type, body, Timestamp::from_millis(at * 1000));
        authorization
    }

    /// "post-x-www-form-urlencoded" of the test suite in the AWS documentation.
    #[test]
    fn the_example_of_the_documentation_has_its_signature() {
        let url = "https://example.amazonaws.com/";
        let found = signature("service", url, "application/x-www-form-urlencoded", "Param1=value1", 1_440_938_160);
        let expected = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                        SignedHeaders=content-type;host;x-amz-date, \
                        Signature=ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a";
        assert_eq!(found, expected);
    }

    #[test]
    fn every_part_of_a_request_is_signed() {
        let usual = |url: &str, body: &str, at: u64| signature("ivs", url, "application/json", body, at);
        let one = usual("https://ivs.us-east-1.amazonaws.com/StopStream", "{}", 1_440_938_160);
        for other in [
            usual("https://ivs.us-east-1.amazonaws.com/GetStream", "{}", 1_440_938_160),
            usual("https://ivs.us-east-1.amazonaws.com:444/StopStream", "{}", 1_440_938_160),
            usual("https://ivs.us-west-1.amazonaws.com/StopStream", "{}", 1_440_938_160),
            usual("https://ivs.us-east-1.amazonaws.com/StopStream", "{ }", 1_440_938_160),
            usual("https://ivs.us-east-1.amazonaws.com/StopStream", "{}", 1_440_938_161),
        ] {
            assert_ne!(one.rsplit_once('=').unwrap().1, other.rsplit_once('=').unwrap().1);
        }
        assert_eq!(compact(Timestamp::from_millis(1_440_938_160_999)), "20150830T123600Z");
    }
}
