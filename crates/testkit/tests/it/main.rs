//! What the test bed promises, tried on the machine that runs the tests.
#![allow(clippy::unwrap_used, reason = "a test panics where it cannot go on")]

mod lan;
mod leftovers;
mod machines;
mod nats;
mod processes;

#[test]
fn this_machine_can_be_a_test_bed() {
    if testkit::require("this_machine_can_be_a_test_bed", testkit::MACHINES) {
        println!("{}", testkit::probe());
    }
}
