//! The connection to the switch is lost at every single command of a bond: both ends are alike, and as the outcome says.

use protocols::Verdict;
use switchsim::Profile;

use super::both::Both;
use super::{is_whole, score};
use crate::bed::assignment;
use crate::lost::{Cut, each, lose, told};

async fn everywhere(profile: Profile, cut: Cut) -> usize {
    let plain = Both::new(profile.clone()).await;
    let commands = plain.bed.sim.commands().len();
    let job = assignment(&score(), 7);
    assert_eq!(plain.play(&job).await.verdict, Verdict::Converged);
    let count = plain.bed.sim.commands().len() - commands;
    each(count, async |position| {
        let mut both = Both::new(profile.clone()).await;
        let before = both.ends();
        lose(&both.bed.sim, cut, position);
        let report = match cut {
            Cut::AfterAndCrash => both.play_and_end(&job).await,
            Cut::After | Cut::Before => both.play(&job).await,
        };
        is_whole(&both, &report, &before, &format!("{cut:?} {position} of {count}")).await;
    })
    .await
}

/// Defines a test for every line.
macro_rules! cut {
    ($($name:ident: $profile:ident, $cut:ident;)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                told(everywhere(Profile::$profile(), Cut::$cut).await, 40);
            }
        )*
    };
}

cut! {
    the_answer_of_an_old_fastiron_is_lost_anywhere: fastiron_8030, After;
    the_answer_of_a_new_fastiron_is_lost_anywhere: fastiron_8095, After;
    the_answer_of_a_vdx_is_lost_anywhere: nos, After;
    a_command_to_an_old_fastiron_is_lost_anywhere: fastiron_8030, Before;
    a_command_to_a_new_fastiron_is_lost_anywhere: fastiron_8095, Before;
    a_command_to_a_vdx_is_lost_anywhere: nos, Before;
    the_agent_ends_anywhere_with_its_connection_to_an_old_fastiron: fastiron_8030, AfterAndCrash;
    the_agent_ends_anywhere_with_its_connection_to_a_new_fastiron: fastiron_8095, AfterAndCrash;
    the_agent_ends_anywhere_with_its_connection_to_a_vdx: nos, AfterAndCrash;
}
