use super::*;

fn settings() -> Settings {
    Settings { role: Role::Agent, log: "info".into(), metrics: None, verbose: 0 }
}

fn signal_myself() {
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM).unwrap();
}

async fn until_stopped(context: Context) -> anyhow::Result<()> {
    context.ready("serving");
    context.stop().cancelled().await;
    Ok(())
}

/// In one test, because signals belong to the process.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_ends_as_it_is_told() {
    let done = drive(&settings(), |_| async { Ok(()) }).await.unwrap();
    assert_eq!(done, Code::Done);

    let failed = drive(&settings(), |_| async { Err(anyhow::anyhow!("the disk is gone")) }).await.unwrap_err();
    assert_eq!(failed.to_string(), "the disk is gone");

    let graceful = drive(&settings(), |context| async {
        signal_myself();
        until_stopped(context).await
    })
    .await
    .unwrap();
    assert_eq!(graceful, Code::Done);

    let forced = drive(&settings(), |context| async move {
        signal_myself();
        context.stop().cancelled().await;
        signal_myself();
        std::future::pending().await
    })
    .await
    .unwrap();
    assert_eq!(forced, Code::Interrupted);
}

#[tokio::test]
async fn metrics_are_refused_off_loopback_and_on_a_busy_port() {
    let mut settings = settings();
    settings.metrics = Some("0.0.0.0:0".parse().unwrap());
    let error = drive(&settings, until_stopped).await.unwrap_err();
    assert!(error.to_string().contains("is not on loopback"), "{error:#}");
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    settings.metrics = Some(busy.local_addr().unwrap());
    let error = drive(&settings, until_stopped).await.unwrap_err();
    assert!(crate::report::Report::of(&error).text().contains("hint: choose another address"), "{error:#}");
}
