//! libFuzzer's bytes for `fuzz::bodies::entries`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::bodies::entries(bytes);
});
