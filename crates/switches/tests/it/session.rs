//! The session keeps step, however unpleasant the device is.

use scores::switch::Switch;
use switches::parse::System;
use switchsim::{EnableDialog, NASTY_BANNER, Nasty, Profile};

use crate::bed::Bed;

fn all() -> [Profile; 3] {
    [Profile::fastiron_8030(), Profile::fastiron_8095(), Profile::nos()]
}

#[tokio::test]
async fn every_family_is_read() {
    for profile in all() {
        let bed = Bed::new(profile).await;
        let snapshot = bed.device.read().await.unwrap();
        assert!(snapshot.links.len() >= 48, "{}", snapshot.links.len());
        assert_eq!(snapshot.running, snapshot.startup);
        let inventory = bed.device.inventory().await.unwrap();
        assert!(!inventory.version.units.is_empty());
        // The ports of Network OS are shut until somebody opens them.
        assert_eq!(inventory.addresses.is_empty(), inventory.version.system == System::NetworkOs);
        assert_eq!(bed.sim.logins(), 1, "one session does");
    }
}

#[tokio::test]
async fn nothing_unpleasant_makes_it_lose_step() {
    let one = |nasty: Nasty| nasty;
    let nasties = [
        one(Nasty { split_bytes: Some(1), ..Nasty::default() }),
        one(Nasty { banner: Some(NASTY_BANNER.to_owned()), ..Nasty::default() }),
        one(Nasty { pager: Some(24), pager_stays: true, ..Nasty::default() }),
        one(Nasty { ansi: true, ..Nasty::default() }),
        one(Nasty { port_names: true, split_bytes: Some(3), ..Nasty::default() }),
        one(Nasty { wrong_encoding: true, port_names: true, ..Nasty::default() }),
        one(Nasty { no_echo: true, ..Nasty::default() }),
        Nasty::everything(),
    ];
    for profile in all() {
        let plain = Bed::new(profile.clone()).await.device.read().await.unwrap();
        for nasty in &nasties {
            let bed = Bed::new(profile.clone().nasty(nasty.clone())).await;
            let mut found =
                bed.device.read().await.unwrap_or_else(|error| panic!("{nasty:?}: {}", scores::chain(&error)));
            for config in [&mut found.running, &mut found.startup] {
                for port in config.ports.values_mut() {
                    port.description = None;
                }
                config.ports.retain(|_, port| *port != scores::switch::PortConfig::default());
            }
            assert_eq!(found, plain, "{nasty:?}");
        }
    }
}

#[tokio::test]
async fn every_way_to_become_privileged_works() {
    for enable in [EnableDialog::Password, EnableDialog::UserName, EnableDialog::Open] {
        let bed = Bed::new(Profile::fastiron_8030().enable(enable)).await;
        bed.device.read().await.unwrap();
    }
    let bed = Bed::new(Profile::fastiron_8095().privileged()).await;
    bed.device.read().await.unwrap();
    assert!(!bed.sim.commands().iter().any(|command| command == "enable"));
}

#[tokio::test]
async fn odd_names_and_renamed_devices_are_followed() {
    let bed = Bed::new(Profile::fastiron_8030().hostname("switch-001/002/003/123")).await;
    bed.device.read().await.unwrap();
    bed.sim.configure(&["hostname other"]);
    let found = bed.device.read().await.unwrap();
    assert_eq!(found.links.len(), 56);
    assert_eq!(bed.sim.logins(), 2, "a new session learns the new name");
}

#[tokio::test]
async fn a_lost_connection_is_made_again_for_reading() {
    for profile in all() {
        let bed = Bed::new(profile).await;
        bed.device.read().await.unwrap();
        bed.sim.drop_after(0);
        bed.device.read().await.unwrap();
        bed.sim.drop_after(2);
        bed.device.read().await.unwrap();
        assert_eq!(bed.sim.logins(), 3);
    }
}

#[tokio::test]
async fn many_tasks_share_one_session_and_keep_apart() {
    let bed = Bed::new(Profile::fastiron_8095().nasty(Nasty { session_limit: Some(1), ..Nasty::default() })).await;
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let device = bed.device.clone();
            tokio::spawn(async move { device.read().await.unwrap() })
        })
        .collect();
    let mut found = Vec::new();
    for task in tasks {
        found.push(task.await.unwrap());
    }
    assert!(found.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(bed.sim.logins(), 1);
}

#[tokio::test]
async fn an_abandoned_task_leaves_no_broken_session() {
    let bed = Bed::new(Profile::fastiron_8030()).await;
    let plain = bed.device.read().await.unwrap();
    for _ in 0..5 {
        let reading = bed.device.read();
        let _cut = tokio::time::timeout(std::time::Duration::from_millis(3), reading).await;
        assert_eq!(bed.device.read().await.unwrap(), plain);
    }
}

#[tokio::test]
async fn systems_are_told_apart() {
    for (profile, system) in all().into_iter().zip([System::FastIron, System::FastIron, System::NetworkOs]) {
        let bed = Bed::new(profile).await;
        let probe = switches::probe(bed.device.declaration()).await.unwrap();
        assert_eq!(probe.version.system, system);
        assert_eq!(probe.host_key, bed.sim.fingerprint());
        assert_eq!(probe.algorithms.len(), 4);
    }
}
