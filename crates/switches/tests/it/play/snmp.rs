//! SNMPv3: secrets are sealed, opened, typed, remembered, and told to nobody.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use protocols::secret::Place;
use protocols::{SealedText, SecretKey, SecretValue, Verdict};
use scores::Score;
use scores::switch::{SnmpAccess, SnmpAuth, SnmpAuthKey, SnmpPrivacy, SnmpPrivacyKey, SnmpScore};
use switchsim::Profile;

use super::{device, holds, lacks, made};
use crate::bed::{Bed, assignment};

const AUTH: &str = "correct-horse";
const OTHER: &str = "battery-staple";
const PRIVACY: &str = "Tr0ub4dor-and-3";

fn score(bed: &Bed, auth: &str) -> SnmpScore {
    sealed(&bed.key, auth)
}

/// A user whose secrets are sealed to this key.
pub(crate) fn sealed(key: &SecretKey, auth: &str) -> SnmpScore {
    let mut score = SnmpScore {
        device: device(),
        user: "watch".into(),
        group: Some("readers".into()),
        access: SnmpAccess::Read,
        auth: None,
        privacy: None,
        weak: false,
        replace: false,
        absent: false,
    };
    let subject = score.subject();
    let place = Place { kind: &SnmpScore::KIND, subject: &subject };
    let to = BTreeSet::from([key.id()]);
    let seal = |name: &str, text: &str| {
        let value = SecretValue::from(text.as_bytes().to_vec());
        SealedText::seal(name.parse().unwrap(), place, &value, &to).unwrap()
    };
    score.auth = Some(SnmpAuthKey { algorithm: SnmpAuth::Sha, secret: seal("auth", auth) });
    score.privacy = Some(SnmpPrivacyKey { algorithm: SnmpPrivacy::Aes, secret: seal("priv", PRIVACY) });
    score
}

fn typed(bed: &Bed, secret: &str) -> usize {
    bed.sim.commands().iter().filter(|command| command.contains(secret)).count()
}

#[tokio::test]
async fn a_user_is_made_given_other_secrets_and_removed() {
    for profile in [Profile::fastiron_8030(), Profile::fastiron_8095(), Profile::nos()] {
        let mut bed = Bed::new(profile).await;
        let first = score(&bed, AUTH);
        made(&bed, &first, 1).await;
        holds(&bed, "snmp-server group readers v3 priv read all");
        assert_eq!(typed(&bed, AUTH), 1);
        bed.restart();
        assert_eq!(bed.play(&first, 1).await.steps.len(), 0, "it is remembered");

        // Other secrets, and back when a check fails: the former ones are known, sealed.
        let second = score(&bed, OTHER);
        bed.checks.fail.store(true, Ordering::SeqCst);
        let mut job = assignment(&second, 2);
        job.policy.checks = vec![protocols::Check::Tcp { address: "x:1".into() }];
        let report = bed.ensemble().play(&job, &bed.stage).await;
        assert_eq!(report.verdict, Verdict::Quarantined, "{report:?}");
        assert_eq!((typed(&bed, AUTH), typed(&bed, OTHER)), (2, 1));
        bed.checks.fail.store(false, Ordering::SeqCst);
        let third = bed.play(&second, 3).await;
        assert_eq!((third.verdict, third.steps.len()), (Verdict::Converged, 2), "{third:?}");
        assert_eq!(typed(&bed, OTHER), 2);

        let gone = SnmpScore { auth: None, privacy: None, absent: true, ..second };
        made(&bed, &gone, 4).await;
        lacks(&bed, "user watch");

        let told = format!("{:?} {:?} {:?}", bed.stage.lines.lock().unwrap(), bed.device, report);
        assert!(!told.contains(AUTH) && !told.contains(OTHER) && !told.contains(PRIVACY), "{told}");
        let mut files = Vec::new();
        for entry in std::fs::read_dir(bed.dir.path().join("state")).unwrap() {
            files.extend(std::fs::read(entry.unwrap().path()).unwrap());
        }
        let text = String::from_utf8_lossy(&files);
        assert!(!text.contains(AUTH) && !text.contains(PRIVACY));
    }
}

#[tokio::test]
async fn a_foreign_user_is_replaced_only_when_that_is_said() {
    let bed = Bed::new(Profile::fastiron_8095()).await;
    bed.sim.configure(&[
        "snmp-server group readers v3 priv read all",
        "snmp-server user watch readers v3 auth md5 theirs99",
    ]);
    let ours = score(&bed, AUTH);
    let report = bed.play(&ours, 1).await;
    assert_eq!(report.verdict, Verdict::Refused);
    assert!(report.message.contains("`replace = true` gives them up"), "{}", report.message);
    assert_eq!(typed(&bed, AUTH), 0);
    made(&bed, &SnmpScore { replace: true, ..ours }, 2).await;
    holds(&bed, "snmp-server user watch readers v3 auth sha ..... priv aes .....");
}

#[tokio::test]
async fn a_refused_secret_is_not_told() {
    let bed = Bed::new(Profile::fastiron_8095()).await;
    let blank = "with a blank in it";
    let report = bed.play(&score(&bed, blank), 1).await;
    assert_eq!(report.verdict, Verdict::Refused, "{report:?}");
    assert!(report.message.contains("printable ASCII") && !report.message.contains(blank));
    let weak = SnmpScore {
        auth: score(&bed, AUTH).auth.map(|auth| SnmpAuthKey { algorithm: SnmpAuth::Md5, ..auth }),
        ..score(&bed, AUTH)
    };
    assert!(weak.check().unwrap_err().to_string().contains("MD5 is broken"));
    assert!(SnmpScore { weak: true, ..weak }.check().is_ok());
}
