//! Holds the table of which crate may use which, and how the manifests are written.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{CargoOpt, DependencyKind, Metadata, MetadataCommand, Package};

#[test]
fn crates_use_only_what_the_table_allows() {
    let metadata = metadata();
    let members = members(&metadata);
    let mut wrong = Vec::new();
    for package in &members {
        let Some(allowed) = allowed(package.name.as_str()) else {
            wrong.push(format!("{} is not in the table of crates/flt/tests/it/layering.rs", package.name));
            continue;
        };
        for used in ours(package, &members, &[DependencyKind::Normal, DependencyKind::Build]) {
            if !allowed.contains(&used) {
                wrong.push(format!("{} uses {used}", package.name));
            }
        }
        for used in ours(package, &members, &[DependencyKind::Development]) {
            if used != TESTKIT && !allowed.contains(&used) {
                wrong.push(format!("the tests of {} use {used}", package.name));
            }
        }
    }
    assert!(wrong.is_empty(), "the layers do not hold:\n{}", wrong.join("\n"));
}

/// Crates that `testkit` is made of would have to be compiled twice to use it in their own tests.
#[test]
fn testkit_is_used_by_tests_alone_and_not_by_its_own_parts() {
    let metadata = metadata();
    let members = members(&metadata);
    for package in &members {
        let used = ours(package, &members, &[DependencyKind::Normal, DependencyKind::Build]);
        assert!(!used.contains(TESTKIT), "{} uses testkit outside of tests", package.name);
    }
    for part in allowed(TESTKIT).unwrap_or_default() {
        let package = members.iter().find(|package| package.name.as_str() == *part);
        let package = package.unwrap_or_else(|| panic!("testkit may use {part}, which does not exist"));
        let used = ours(package, &members, &[DependencyKind::Development]);
        assert!(!used.contains(TESTKIT), "the tests of {part} use testkit, which uses {part}");
    }
}

#[test]
fn the_table_names_no_crate_that_is_gone() {
    let metadata = metadata();
    let names: BTreeSet<String> = members(&metadata).iter().map(|package| package.name.to_string()).collect();
    for (name, allowed) in TABLE {
        assert!(names.contains(*name), "the table names {name}, which does not exist");
        for used in *allowed {
            assert!(
                TABLE.iter().any(|(known, _)| known == used),
                "{name} may use {used}, which the table does not name"
            );
        }
    }
}

#[test]
fn every_crate_inherits_lints_and_versions() {
    let metadata = metadata();
    let mut wrong = Vec::new();
    for package in members(&metadata) {
        let manifest = parse(package.manifest_path.as_std_path());
        let name = &package.name;
        if !inherits(manifest.get("lints")) {
            wrong.push(format!("{name}: [lints] workspace = true is missing"));
        }
        for field in ["version", "edition", "rust-version", "license", "publish", "description"] {
            if !inherits(manifest.get("package").and_then(|package| package.get(field))) {
                wrong.push(format!("{name}: package.{field}.workspace = true is missing"));
            }
        }
        for (section, dependency, value) in dependencies(&manifest) {
            if !inherits(Some(value)) {
                wrong.push(format!("{name}: {section}.{dependency} must say workspace = true"));
            }
            if value.get("version").is_some() {
                wrong.push(format!("{name}: {section}.{dependency} names a version; versions live in the root"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a document may be depends on one `Store` type: two versions of iroh-blobs would silently make two.
#[test]
fn the_wire_has_one_version_of_each_part() {
    let lock: toml::Table = parse(&root().join("Cargo.lock"));
    let mut versions = BTreeMap::<&str, Vec<&str>>::new();
    for package in lock.get("package").and_then(toml::Value::as_array).into_iter().flatten() {
        let text = |field| package.get(field).and_then(toml::Value::as_str);
        if let (Some(name), Some(version)) = (text("name"), text("version")) {
            versions.entry(name).or_default().push(version);
        }
    }
    for name in ["iroh", "iroh-base", "iroh-blobs", "iroh-docs", "iroh-gossip", "irpc"] {
        let found = versions.get(name).map_or(&[][..], Vec::as_slice);
        assert_eq!(found.len(), 1, "Cargo.lock must hold one version of {name}, and holds {found:?}");
    }
}

/// The table's row of a crate.
fn allowed(name: &str) -> Option<&'static [&'static str]> {
    TABLE.iter().find(|(known, _)| *known == name).map(|(_, allowed)| *allowed)
}

/// The crates of this workspace that a crate depends on in one of these ways.
fn ours<'a>(package: &'a Package, members: &[&Package], kinds: &[DependencyKind]) -> BTreeSet<&'a str> {
    let is_member = |name: &str| members.iter().any(|member| member.name.as_str() == name);
    package
        .dependencies
        .iter()
        .filter(|dependency| kinds.contains(&dependency.kind) && dependency.path.is_some())
        .map(|dependency| dependency.name.as_str())
        .filter(|name| is_member(name))
        .collect()
}

/// Every dependency of a manifest, those of single platforms too: section, name, and what is said about it.
fn dependencies(manifest: &toml::Table) -> Vec<(&'static str, &str, &toml::Value)> {
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let tables = targets.into_iter().flat_map(|targets| targets.values()).filter_map(toml::Value::as_table);
    let mut found = Vec::new();
    for table in tables.chain([manifest]) {
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (name, value) in table.get(section).and_then(toml::Value::as_table).into_iter().flatten() {
                found.push((section, name.as_str(), value));
            }
        }
    }
    found
}

fn inherits(value: Option<&toml::Value>) -> bool {
    value.and_then(|value| value.get("workspace")).and_then(toml::Value::as_bool) == Some(true)
}

fn members(metadata: &Metadata) -> Vec<&Package> {
    let members = metadata.workspace_packages();
    assert!(!members.is_empty(), "cargo metadata names no crate of this workspace");
    members
}

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .features(CargoOpt::AllFeatures)
        .no_deps()
        .other_options(["--offline".to_owned(), "--locked".to_owned()])
        .exec()
        .unwrap_or_else(|error| panic!("cargo metadata: {error}"))
}

fn parse(path: &Path) -> toml::Table {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("reading {}: {error}", path.display()));
    toml::from_str(&text).unwrap_or_else(|error| panic!("parsing {}: {error}", path.display()))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

const TESTKIT: &str = "testkit";

/// Which crate may use which, tests apart: `testkit` is for tests, and every crate but its own parts may test with it.
const TABLE: &[(&str, &[&str])] = &[
    ("protocols", &["failover"]),
    ("failover", &[]),
    ("scores", &["protocols", "failover"]),
    ("mesh", &["protocols"]),
    ("devices", &["protocols", "scores", "failover"]),
    ("switchsim", &[]),
    ("switches", &["protocols", "scores", "switchsim"]),
    ("agent", &["protocols", "scores", "failover"]),
    ("quorum", &["protocols", "failover"]),
    ("coordinator", &["protocols", "scores", "failover", "quorum"]),
    ("admin", &["protocols", "scores", "failover"]),
    (
        "flt",
        &[
            "protocols",
            "failover",
            "scores",
            "mesh",
            "devices",
            "switches",
            "switchsim",
            "agent",
            "quorum",
            "coordinator",
            "admin",
        ],
    ),
    (TESTKIT, &["protocols", "scores", "failover"]),
];
