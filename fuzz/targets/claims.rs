//! libFuzzer's bytes for `fuzz::bodies::claims`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::bodies::claims(bytes);
});
