//! The facts of the machine that runs the tests, and of one that has nothing.

use devices::facts;
use protocols::Millis;

#[tokio::test]
async fn gathers_what_this_machine_is() {
    let kinds = vec!["files/1".parse().unwrap()];
    let found = facts::stable(std::path::Path::new("/"), "1.2.3", kinds.clone()).await;
    assert_eq!((found.flt_version.as_str(), &found.kinds), ("1.2.3", &kinds));
    assert!(found.hostname.is_some() && found.kernel.is_some() && found.arch.is_some(), "{found:?}");
    assert!(found.cpus.unwrap() > 0 && found.memory_bytes.unwrap() > 1 << 20, "{found:?}");
    assert_eq!(found.boot_id.as_ref().unwrap().len(), 36);
    assert_eq!(facts::stable(std::path::Path::new("/"), "1.2.3", kinds).await, found, "stable facts are stable");

    let temp = tempfile::tempdir().unwrap();
    let found = facts::volatile(std::path::Path::new("/"), temp.path(), Millis(5)).await;
    assert_eq!(found.clock, Millis(5));
    assert!(found.uptime_seconds.is_some() && found.load_hundredths.is_some(), "{found:?}");
    assert!(found.memory_available_bytes.unwrap() > 0 && found.data_free_bytes.is_some(), "{found:?}");
}

#[tokio::test]
async fn what_cannot_be_read_is_left_out() {
    let temp = tempfile::tempdir().unwrap();
    let etc = temp.path().join("etc");
    std::fs::create_dir(&etc).unwrap();
    std::fs::write(etc.join("os-release"), [0xff, 0xfe, 0]).unwrap();
    std::fs::create_dir(etc.join("machine-id")).unwrap();
    let found = facts::stable(temp.path(), "1", Vec::new()).await;
    assert!(found.os_id.is_none() && found.machine_id.is_none() && found.memory_bytes.is_none(), "{found:?}");
    let found = facts::volatile(temp.path(), &temp.path().join("none"), Millis(1)).await;
    assert_eq!(found, protocols::facts::VolatileFacts { clock: Millis(1), ..Default::default() });
}
