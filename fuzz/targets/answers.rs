//! libFuzzer's bytes for `fuzz::bodies::answers`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::bodies::answers(bytes);
});
