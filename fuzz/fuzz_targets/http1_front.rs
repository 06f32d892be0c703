//! `http1_front`: see `cellwall_fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cellwall_fuzz::http1_front(data));
