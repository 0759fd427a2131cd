//! Datagrams from the LAN.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mainstay_fuzz::vrrp_datagram(data));
