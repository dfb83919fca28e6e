//! libFuzzer's bytes for `fuzz::bodies::texts`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::bodies::texts(bytes);
});
