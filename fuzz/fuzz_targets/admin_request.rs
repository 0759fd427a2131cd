//! Lines on the admin socket.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mainstay_fuzz::admin_request(data));
