//! Names are unique and well-formed, and what is counted is shown.

use super::*;

#[test]
fn every_metric_is_declared_once_and_follows_the_naming_rules() {
    let names = Metrics::new().unwrap().names();
    assert!(names.iter().all(|name| name.starts_with("sluicegate_")));
    let mut unique = names.clone();
    unique.dedup();
    assert_eq!(names, unique);
}

#[test]
fn a_count_shows_in_the_text() {
    let metrics = Metrics::new().unwrap();
    metrics.pictures(PictureOutcome::Inspected, 3);
    assert!(metrics.render().unwrap().contains("sluicegate_pictures_total{outcome=\"inspected\"} 3"));
}
