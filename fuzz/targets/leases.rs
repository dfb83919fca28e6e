//! libFuzzer's bytes for `fuzz::bodies::leases`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::bodies::leases(bytes);
});
