//! The measured times, as a table.

use std::time::SystemTime;

use crate::story::{Moments, seconds};

/// Prints each moment, counted from the first banked frame published and from the moment before it.
pub(crate) fn print(moments: &Moments) {
    println!("\n  {:<44}{:>12}{:>12}", "", "since first", "since the");
    println!("  {:<44}{:>12}{:>12}", "", "banked frame", "step before");
    let mut before = moments.published;
    for (what, when) in rows(moments) {
        println!("  {what:<44}{:>10.3} s{:>10.3} s", seconds(moments.published, when), seconds(before, when));
        before = when;
    }
}

fn rows(moments: &Moments) -> [(&'static str, SystemTime); 9] {
    [
        ("first banked frame published", moments.published),
        ("first matching access unit received", moments.received),
        ("first finding", moments.found),
        ("verdict", moments.decided),
        ("server asked", moments.asked),
        ("publisher observed gone", moments.gone),
        ("publisher's own process ended", moments.exited),
        ("publisher tries to come back", moments.retried),
        ("re-publish refused", moments.refused),
    ]
}
