//! Who publishes, as the query of the address says that they publish to: `rtmp://host/live/cam1?account=7&key=abc`.
//!
//! The publisher writes that query. So what it says is worth what the platform checks of it, and of a name that is there
//! twice the *first* value counts, everywhere: two readers who each take another one are two publishers.

use std::sync::Arc;

use url::form_urlencoded;

use super::Config;
use crate::stream::Publisher;

/// The longest value that is taken: longer ones are no accounts and no keys.
const LONGEST: usize = 512;

/// Who publishes from `address`, with what `find` finds under a name in their query.
pub(super) fn publisher(config: &Config, address: Option<&str>, find: impl Fn(&str) -> Option<String>) -> Publisher {
    let named = |param: &Option<Arc<str>>| {
        let value = find(param.as_deref()?)?;
        (1..=LONGEST).contains(&value.len()).then(|| Arc::from(value))
    };
    Publisher { address: address.map(Arc::from), key: named(&config.key_param), account: named(&config.account_param) }
}

/// The first value of `name` in a query, with or without its `?`.
pub(super) fn first(query: &str, name: &str) -> Option<String> {
    let query = query.strip_prefix('?').unwrap_or(query);
    form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// Who publishes with `query`.
pub(super) fn of(config: &Config, address: Option<&str>, query: &str) -> Publisher {
    publisher(config, address, |name| first(query, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::servers::{Kind, fake};

    #[test]
    fn the_first_value_of_the_named_parameters_counts() {
        let config = fake::config(Kind::Srs, "account_param = 'user'\nkey_param = 'k'");
        for (query, account, key) in [
            ("user=7&k=abc", Some("7"), Some("abc")),
            ("?k=abc&user=7&user=8&k=def", Some("7"), Some("abc")),
            ("USER=7&k%20=abc", None, None),
            ("user=a%26b%3Dc&k=%2525", Some("a&b=c"), Some("%25")),
            ("user=&k", None, None),
            ("", None, None),
        ] {
            let found = of(&config, Some("10.0.0.1"), query);
            assert_eq!((found.account.as_deref(), found.key.as_deref()), (account, key), "{query}");
            assert_eq!(found.address.as_deref(), Some("10.0.0.1"));
        }
        let long = format!("user={}", "x".repeat(LONGEST + 1));
        assert_eq!(of(&config, None, &long), Publisher::default());
        let silent = fake::config(Kind::Srs, "");
        assert_eq!(of(&silent, None, "user=7&k=abc"), Publisher::default(), "nothing is taken that is not named");
    }
}
