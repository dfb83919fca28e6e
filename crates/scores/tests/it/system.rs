//! What needs cargo itself: the text that somebody reads who names a score on a topology that lacks the capability.

#[test]
fn what_the_compiler_says_names_the_capability() {
    if std::env::var("FLT_SKIP_SYSTEM_TESTS").is_ok_and(|value| value == "1") {
        println!("skipped: system::what_the_compiler_says_names_the_capability (FLT_SKIP_SYSTEM_TESTS=1)");
        return;
    }
    trybuild::TestCases::new().compile_fail("tests/missing/*.rs");
}
