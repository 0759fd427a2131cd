//! What a client sends first where a PROXY header is expected.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mainstay_fuzz::proxy_header(data));
