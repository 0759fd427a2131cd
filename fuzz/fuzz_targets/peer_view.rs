//! What a peer tells of itself on its link.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mainstay_fuzz::peer_view(data));
