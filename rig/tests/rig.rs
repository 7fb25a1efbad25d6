//! The rig itself: a real nginx takes a real publisher, and nothing is left of either.

use std::time::Duration;

use rig::nginx::Nginx;
use rig::publisher::{Publisher, Times};
use rig::{clips, until};

#[test]
fn a_publisher_is_listed_while_it_publishes_and_gone_when_it_ends() {
    let nginx = Nginx::start(None).unwrap();
    let clip = clips::innocent().unwrap();
    let publisher = Publisher::start(&clip, &format!("{}/live/garden", nginx.rtmp()), Times::Forever).unwrap();
    let patience = Duration::from_secs(10);
    until("the publisher to be listed", patience, || nginx.publisher("garden")).unwrap();
    until("the first second to be sent", patience, || publisher.sent(Duration::from_secs(1))).unwrap();
    assert!(nginx.bytes_in("garden").unwrap() > 0);
    drop(publisher);
    until("the publisher to be gone", patience, || nginx.publisher("garden").is_none().then_some(())).unwrap();
}
