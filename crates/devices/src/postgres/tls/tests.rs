//! The commands of the manual, tried as they are written there.

use std::process::Command;

use scores::postgres::PostgresScore;

use super::*;

const SCORE: &str = r#"{"name":"orders","succession":{"candidates":["a","b"],"first":"a"},"addresses":{"a":"10.0.0.1:5433","b":"10.0.0.2:5433"},"folder":"/var/lib/x","tls":{"folder":"/etc/x","authorities":{}}}"#;

/// Every command of the manual that begins with `openssl`, in order.
fn commands() -> Vec<String> {
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/postgres.md");
    let text = fs::read_to_string(manual).unwrap();
    let commands = text.lines().filter_map(|line| line.strip_prefix("$ "));
    commands.filter(|command| command.starts_with("openssl")).map(str::to_owned).collect()
}

#[test]
fn an_authority_that_is_made_as_the_manual_says_issues_certificates_that_openssl_believes() {
    let test = "an_authority_that_is_made_as_the_manual_says_issues_certificates_that_openssl_believes";
    if !testkit::require(test, &["openssl"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let run = |command: &str| {
        let output = Command::new("sh").args(["-ec", command]).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let commands = commands();
    assert_eq!(commands.len(), 2, "{commands:?}");
    for command in &commands {
        run(command);
    }
    let authority = run("openssl x509 -in ca.pem -noout -subject -ext basicConstraints");
    assert!(authority.contains("PostgreSQL of north") && authority.contains("CA:TRUE"), "{authority}");

    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let score: PostgresScore = serde_json::from_str(SCORE).unwrap();
    let setup = Setup::new(score, "a".parse().unwrap());
    let (pem, key) = issue(&setup, &read(SITE_CERTIFICATE), &read(SITE_KEY)).unwrap();
    fs::write(folder.path().join(CERTIFICATE), pem).unwrap();
    fs::write(folder.path().join(KEY), key).unwrap();
    for purpose in ["sslserver", "sslclient"] {
        let verified =
            run(&format!("openssl verify -CAfile ca.pem -purpose {purpose} -verify_hostname a {CERTIFICATE}"));
        assert!(verified.contains("OK"), "{verified}");
    }
    // The key is the certificate's.
    let of_key = run(&format!("openssl pkey -in {KEY} -pubout"));
    assert_eq!(of_key, run(&format!("openssl x509 -in {CERTIFICATE} -noout -pubkey")));
}
