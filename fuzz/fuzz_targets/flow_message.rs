//! What a peer tells of its connections on its link.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mainstay_fuzz::flow_message(data));
