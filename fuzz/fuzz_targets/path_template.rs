//! `path_template`: see `cellwall_fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cellwall_fuzz::path_template(data));
