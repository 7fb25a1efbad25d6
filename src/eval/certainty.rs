//! How sure a count is, at a confidence of 95 %.

/// The standard normal's 97.5 % quantile.
const Z: f64 = 1.959_964;

/// Between which shares the true one lies, when `share` was found among `independent` things that say nothing of each other.
/// Where pictures of one video, which say much of each other, were counted, the things are the videos. (Wilson, "Probable Inference, the Law of
/// Succession, and Statistical Inference", 1927.)
pub fn between(share: f64, independent: usize) -> (f64, f64) {
    if independent == 0 {
        return (0.0, 1.0);
    }
    let n = independent as f64;
    let centre = share + Z * Z / (2.0 * n);
    let reach = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    (((centre - reach) / scale).max(0.0), ((centre + reach) / scale).min(1.0))
}

/// How many events there are at most in a span in which `seen` were counted, if they come independently: with more, so few
/// would be seen in 5 % of such spans only. 3.0 for none.
pub fn at_most(seen: usize) -> f64 {
    // The chance of `seen` or fewer falls as the mean grows: halve until it is found.
    let (mut low, mut high) = (seen as f64, 2.0 * seen as f64 + 10.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if chance_of_so_few(seen, middle) > 0.05 {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// The chance that a Poisson variable of this mean is `most` or less.
fn chance_of_so_few(most: usize, mean: f64) -> f64 {
    // Terms in logarithms: `exp(-mean)` alone is nothing for large means.
    let mut term = -mean;
    let mut sum = term.exp();
    for k in 1..=most {
        term += (mean / k as f64).ln();
        sum += term.exp();
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_as_sure_as_tables_say() {
        for (hits, all, low, high) in
            [(0u32, 10u32, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)]
        {
            let (got_low, got_high) = between(f64::from(hits) / f64::from(all), all as usize);
            assert!(
                (got_low - low).abs() < 1e-4 && (got_high - high).abs() < 1e-4,
                "{hits}/{all}: {got_low} {got_high}"
            );
        }
        assert_eq!(between(0.0, 0), (0.0, 1.0), "nothing was looked at, so nothing is known");
    }

    #[test]
    fn counts_are_as_sure_as_tables_say() {
        for (seen, expected) in [(0, 2.996), (1, 4.744), (3, 7.754), (10, 16.962), (100, 118.08), (3000, 3091.7)] {
            let got = at_most(seen);
            assert!((got - expected).abs() < expected * 1e-3, "{seen}: {got}");
        }
    }
}
