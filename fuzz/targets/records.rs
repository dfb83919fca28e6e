//! libFuzzer's bytes for `fuzz::bodies::records`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::bodies::records(bytes);
});
