//! `postgres/1`: a PostgreSQL cluster with one writable node, standbys that follow it, and no acknowledged write lost.

mod check;
mod plan;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use failover::{ClusterName, Workload};
use protocols::{Kind, Name, SealedText, Subject};
use serde::{Deserialize, Serialize};

use crate::failover::{FailoverScore, Succession};
use crate::{Invalid, Score};

pub use check::OWN_PARAMETERS;
pub use plan::PostgreSql;

/// A PostgreSQL cluster of which one node at a time is writable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresScore {
    /// What the cluster is called: its lease is `postgres/NAME`.
    pub name: Name,
    /// Who may write, and how a silent node is replaced. `first` makes the cluster's first copy.
    pub succession: Succession,
    /// Where the PostgreSQL of each candidate listens: an address that the others reach it at, never `0.0.0.0`.
    pub addresses: BTreeMap<Name, SocketAddr>,
    /// Where each node leads clients to the primary from, if anywhere: a loopback address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<SocketAddr>,
    /// The folder with PostgreSQL's programs.
    #[serde(default = "programs", skip_serializing_if = "is_programs")]
    pub programs: String,
    /// The folder for everything of this cluster. Its last part is made where it is missing. `{node}` in it stands for the
    /// node's name, here and in [`PostgresTls::folder`].
    pub folder: String,
    /// The account that PostgreSQL runs as, by name.
    #[serde(default = "account", skip_serializing_if = "is_account")]
    pub account: String,
    /// How the nodes prove to each other who they are.
    pub tls: PostgresTls,
    /// Settings of PostgreSQL, beside those that are set here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// Roles that can log in, with what PostgreSQL stores of their passwords.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub users: BTreeMap<String, PostgresUser>,
    /// Databases, with the role that owns each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub databases: BTreeMap<String, String>,
    /// Networks from which clients may connect past the routes, as `10.0.0.0/8`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<String>,
}

/// How the nodes of a cluster prove to each other who they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresTls {
    /// A folder on each node with `ca.pem` and `ca.key` of its own site's authority, which issues the node's certificate;
    /// or with `node.pem` and `node.key`, where the site issues certificates by other means.
    pub folder: String,
    /// The authority of each site, as PEM. They are believed because this declaration is signed.
    pub authorities: BTreeMap<Name, String>,
}

/// A role that can log in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresUser {
    /// What PostgreSQL stores of its password: `SCRAM-SHA-256$4096:…`. The password cannot be read off it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verifier: Option<String>,
    /// Or the password itself, which the nodes alone can open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SealedText>,
}

impl Score for PostgresScore {
    const KIND: Kind = Kind::from_static("postgres/1");

    fn subject(&self) -> Subject {
        self.cluster().as_str().parse().expect("`postgres/` and a name are a subject")
    }

    fn check(&self) -> Result<(), Invalid> {
        check::check(self)
    }

    fn secrets(&self) -> Vec<&SealedText> {
        self.users.values().filter_map(|user| user.secret.as_ref()).collect()
    }
}

impl PostgresScore {
    /// A folder as this node has it.
    pub fn folder_of(folder: &str, node: &Name) -> String {
        folder.replace(check::NODE, node.as_str())
    }
}

impl FailoverScore for PostgresScore {
    const WORKLOAD: Workload = Workload::StatefulSql;

    fn cluster(&self) -> ClusterName {
        format!("postgres/{}", self.name).try_into().expect("`postgres/` and a name are a cluster's name")
    }

    fn succession(&self) -> &Succession {
        &self.succession
    }
}

fn programs() -> String {
    "/usr/lib/postgresql/15/bin".into()
}

fn is_programs(folder: &str) -> bool {
    folder == programs()
}

fn account() -> String {
    "postgres".into()
}

fn is_account(name: &str) -> bool {
    name == account()
}

#[cfg(test)]
mod tests;
