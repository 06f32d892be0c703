//! `request_head`: see `cellwall_fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cellwall_fuzz::request_head(data));
