//! Recordings that bring down whatever demuxes them: they cost themselves alone.

use std::fs;

use serde_json::Value;

use crate::{Desk, H264, times};

/// FLV whose metadata is objects in objects in objects: GStreamer 1.22 reads them by recursion, until its stack is spent.
fn bottomless() -> Vec<u8> {
    let body = [b"\x02\0\x0aonMetaData".as_slice(), &[3, 0, 1, b'a'].repeat(1_000_000)].concat();
    let size = (body.len() as u32).to_be_bytes();
    let tag = [&[18, size[1], size[2], size[3]][..], &[0; 7], &body].concat();
    [b"FLV\x01\x05\0\0\0\x09\0\0\0\0".as_slice(), &tag, &(tag.len() as u32).to_be_bytes()].concat()
}

#[test]
fn a_recording_that_brings_down_what_inspects_it_costs_only_itself() {
    let desk = Desk::new();
    desk.copy("a.mp4", H264);
    fs::write(desk.path("b.flv"), bottomless()).unwrap();
    desk.clear("c.mp4", H264);
    let (code, answer) = desk.scan(&["a.mp4", "b.flv", "c.mp4"]);
    let outcomes: Vec<_> = answer["results"].as_array().unwrap().iter().map(|result| &result["outcome"]).collect();
    assert_eq!(
        (code, outcomes),
        (1, ["findings", "not_inspected", "clear"].map(Value::from).iter().collect::<Vec<_>>()),
        "{answer}"
    );
    assert!(times(&answer["results"][0]).len() >= 7, "it is told once, and whole: {answer}");
    let reason = answer["results"][1]["not_inspected"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("brings down what inspects it (signal 11)"), "{reason}");
    assert!(desk.is_tidy());

    // Names that look like options, behind what says that they are none.
    fs::rename(desk.path("b.flv"), desk.path("--apart=0")).unwrap();
    let (code, answer) = desk.scan(&["--", "--apart=0"]);
    assert_eq!((code, answer["outcome"].as_str()), (2, Some("not_inspected")), "{answer}");
}
