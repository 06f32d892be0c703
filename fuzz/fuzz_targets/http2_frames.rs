//! `http2_frames`: see `cellwall_fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cellwall_fuzz::http2_frames(data));
