//! libFuzzer's bytes for `fuzz::bodies::enroll`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::bodies::enroll(bytes);
});
