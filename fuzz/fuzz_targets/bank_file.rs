//! Bytes that somebody put where a bank's file is.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // The digest refuses nearly all of them; what it lets through must be a bank that can be asked.
    if let Ok(bank) = sluicegate::bank::decode(bytes) {
        bank.nearest(&sluicegate::hash::PdqHash::ZERO, 31);
    }
});
