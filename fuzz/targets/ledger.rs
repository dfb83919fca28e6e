//! libFuzzer's bytes for `fuzz::bodies::ledger`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz::bodies::ledger(bytes);
});
