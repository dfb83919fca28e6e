//! Roles whose passwords are sealed to the nodes.

use std::collections::BTreeSet;

use protocols::secret::Place;
use protocols::{SealedText, SecretKey, SecretValue};
use scores::Score as _;
use scores::postgres::{PostgresScore, PostgresUser};
use tokio_postgres::NoTls;

use super::TOOLS;
use super::bed::{Cluster, Node, key};

fn sealed(score: &PostgresScore, password: &str, to: &SecretKey) -> PostgresUser {
    let subject = score.subject();
    let place = Place { kind: &PostgresScore::KIND, subject: &subject };
    let value = SecretValue::from(password.as_bytes().to_vec());
    let secret = SealedText::seal("password".parse().unwrap(), place, &value, &BTreeSet::from([to.id()])).unwrap();
    PostgresUser { verifier: None, secret: Some(secret) }
}

async fn logs_in(node: &Node, user: &str, password: &str) -> bool {
    let mut config = tokio_postgres::Config::new();
    let address = node.address;
    config.host(address.ip().to_string()).port(address.port()).user(user).password(password).dbname("postgres");
    match config.connect(NoTls).await {
        Ok((client, connection)) => {
            tokio::spawn(connection);
            client.simple_query("SELECT 1").await.is_ok()
        }
        Err(_) => false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_logs_in_with_the_password_that_was_sealed_to_its_node() {
    if !testkit::require("a_role_logs_in_with_the_password_that_was_sealed_to_its_node", TOOLS) {
        return;
    }
    let cluster = Cluster::new(&["a"]).await;
    let a = cluster.node("a");
    a.start(1, None).await;
    let mut setup = cluster.setup("a");
    let (app, other) = (sealed(&setup.score, "swordfish 1", &key()), SecretKey::from_seed(&[8; 32]));
    let closed = sealed(&setup.score, "swordfish 2", &other);
    setup.score.users = [("app".to_owned(), app), ("closed".to_owned(), closed)].into();
    a.instance.reconfigure(setup.clone()).await.unwrap();
    assert!(logs_in(a, "app", "swordfish 1").await);
    assert!(!logs_in(a, "app", "swordfish 2").await);
    // What cannot be opened keeps nobody else out.
    assert_eq!(a.ask("SELECT count(*) FROM pg_roles WHERE rolname = 'closed'").await, ["0"]);

    // Sealed anew it is the same password; another one is another.
    let stored = "SELECT rolpassword FROM pg_authid WHERE rolname = 'app'";
    let before = a.ask(stored).await;
    setup.score.users = [("app".to_owned(), sealed(&setup.score, "swordfish 1", &key()))].into();
    a.instance.reconfigure(setup.clone()).await.unwrap();
    assert_eq!(a.ask(stored).await, before);
    setup.score.users = [("app".to_owned(), sealed(&setup.score, "swordfish 3", &key()))].into();
    a.instance.reconfigure(setup).await.unwrap();
    assert!(logs_in(a, "app", "swordfish 3").await && !logs_in(a, "app", "swordfish 1").await);

    // The password is in no file of the instance.
    let found = std::process::Command::new("grep").args(["-rl", "swordfish"]).arg(&a.folder).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
}
