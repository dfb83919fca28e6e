//! What needs cargo itself: the text that somebody reads who names a score on a topology that lacks the capability.

#[test]
#[expect(clippy::disallowed_methods, reason = "whether it is skipped is said in the environment")]
fn what_the_compiler_says_names_the_capability() {
    if std::env::var("FLT_SKIP_SYSTEM_TESTS").is_ok_and(|value| value == "1") {
        println!("skipped: system::what_the_compiler_says_names_the_capability (FLT_SKIP_SYSTEM_TESTS=1)");
        return;
    }
    trybuild::TestCases::new().compile_fail("tests/missing/*.rs");
}
