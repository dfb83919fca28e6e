//! libFuzzer's bytes for `fuzz::bodies::payloads`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::bodies::payloads(bytes);
});
