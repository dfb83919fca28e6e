//! How closures come: only what is missing, only what is signed, and through the store's own checks.

use protocols::Verdict;
use testkit::closure::System;

use super::sandbox::{booting, on_each_nix, profile, running};

on_each_nix!(an_update_brings_only_what_is_missing, |sandbox| {
    let old = sandbox.install(&System::new(1));
    let (score, made) = sandbox.publish(&System::new(2));
    assert_eq!(made.stats.paths, made.stats.packed);
    assert_eq!(made.stats.signed, made.stats.paths);
    let again = sandbox.publish_path(&score.toplevel).1;
    assert_eq!((again.stats.packed, again.manifest), (0, made.manifest.clone()));

    let agent = sandbox.agent();
    let report = agent.play(&score, sandbox.next());
    assert_eq!(report.verdict, Verdict::Converged, "{}", report.message);
    assert_eq!(
        (running(), profile(), booting()),
        (score.toplevel.clone(), score.toplevel.clone(), score.toplevel.clone())
    );
    let asked = agent.blobs.asked.lock().unwrap().len();
    // The manifest, and the paths that differ: package, unit, etc, path, activation, toplevel.
    assert!(asked < made.nars.len() && asked >= 4, "{asked} of {}", made.nars.len());
    assert_ne!(old, score.toplevel);

    let report = agent.play(&score, sandbox.next());
    assert_eq!((report.verdict, report.steps), (Verdict::Converged, Vec::new()));
});
