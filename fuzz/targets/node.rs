//! libFuzzer's bytes for `fuzz::bodies::node`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::bodies::node(bytes);
});
