//! The first bytes of a connection.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mainstay_fuzz::client_hello_bytes(data));
