//! libFuzzer's bytes for `fuzz::bodies::manifest`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::bodies::manifest(bytes);
});
