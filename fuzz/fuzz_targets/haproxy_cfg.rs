//! Texts of a haproxy.cfg.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mainstay_fuzz::haproxy_cfg(data));
