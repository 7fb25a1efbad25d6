//! Bytes that somebody put where a bank's head is.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // The digest refuses nearly all of them; whatever it lets through must not bring anybody down.
    drop(sluicegate::bank::decode(bytes));
});
