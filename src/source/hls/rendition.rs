//! Which rendition of a stream is looked at: the cheapest that still shows enough. Pure.

use super::playlist::Variant;

/// The renditions in the order in which they are tried.
///
/// First those of at least `min_height` lines, the one with the fewest bits first; then those that do not say how tall
/// they are, likewise; then the ones that are too small, the tallest first; and what is sound only last of all.
pub(super) fn in_order(mut variants: Vec<Variant>, min_height: u32) -> Vec<Variant> {
    variants.sort_by_key(|variant| match variant.height {
        _ if variant.sound_only => (3, 0, variant.bandwidth),
        Some(height) if height >= min_height => (0, 0, variant.bandwidth),
        None => (1, 0, variant.bandwidth),
        Some(height) => (2, u32::MAX - height, variant.bandwidth),
    });
    variants
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cheapest_that_shows_enough_comes_first() {
        // `HEIGHT/BANDWIDTH`, `?` where the height is not said, `sound` for what has no video.
        for (story, variants, order) in [
            ("the least bits of those that are tall enough", "1080/5 720/3 360/1 240/0", "360/1 720/3 1080/5 240/0"),
            ("a tall one can be cheaper", "360/4 720/3", "720/3 360/4"),
            ("all are too small", "144/1 240/2 180/3", "240/2 180/3 144/1"),
            ("nothing is said", "?/3 ?/1 ?/2", "?/1 ?/2 ?/3"),
            ("what is said to be small is the last choice", "240/1 ?/9", "?/9 240/1"),
            ("sound is no rendition", "sound/1 240/9", "240/9 sound/1"),
            ("as listed where all is the same", "?/1 ?/1", "?/1 ?/1"),
        ] {
            let variant = |text: &str| {
                let (height, bandwidth) = text.split_once('/').unwrap();
                Variant {
                    uri: text.to_owned(),
                    bandwidth: bandwidth.parse().unwrap(),
                    height: height.parse().ok(),
                    sound_only: height == "sound",
                }
            };
            let chosen = in_order(variants.split(' ').map(variant).collect(), 360);
            let chosen: Vec<&str> = chosen.iter().map(|variant| variant.uri.as_str()).collect();
            assert_eq!(chosen.join(" "), order, "{story}");
        }
    }
}
