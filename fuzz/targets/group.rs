//! libFuzzer's bytes for `fuzz::group::group`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::group::group(bytes);
});
