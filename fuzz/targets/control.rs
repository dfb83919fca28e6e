//! libFuzzer's bytes for `fuzz::bodies::control`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::bodies::control(bytes);
});
