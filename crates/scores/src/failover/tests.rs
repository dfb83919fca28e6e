use super::*;

fn nodes(names: &[&str]) -> BTreeMap<Name, NodeId> {
    names.iter().enumerate().map(|(place, name)| (name.parse().unwrap(), stand_in(place))).collect()
}

fn succession(json: &str) -> Succession {
    serde_json::from_str(json).unwrap()
}

#[test]
fn candidates_are_preferred_in_their_order() {
    let declared = succession(r#"{"candidates":["b","a"]}"#);
    let settings = declared.settings(Workload::Service, &nodes(&["a", "b", "c"])).unwrap();
    assert_eq!(settings.priority(stand_in(1)), Some(2));
    assert_eq!(settings.priority(stand_in(0)), Some(1));
    assert_eq!(settings.priority(stand_in(2)), None);
}

#[test]
fn without_names_every_node_of_the_declaration_is_one() {
    let settings = Succession::default().settings(Workload::Service, &nodes(&["a", "b", "c"])).unwrap();
    assert_eq!(settings.candidates.len(), 3);
    assert!(settings.candidates.iter().all(|candidate| candidate.priority == 1));
    let none = Succession::default().settings(Workload::Service, &nodes(&[]));
    assert_eq!(none.unwrap_err(), SuccessionError::Nodes(0));
}

#[test]
fn a_candidate_that_the_declaration_is_not_for_is_named() {
    let error = succession(r#"{"candidates":["x"]}"#).settings(Workload::Service, &nodes(&["a"])).unwrap_err();
    assert_eq!(error.to_string(), "`x` is a candidate, and the declaration is not for a node of that name");
}

#[test]
fn what_does_not_hold_is_refused_with_its_numbers() {
    let error = succession(r#"{"times":{"ttl_ms":6000}}"#).check(Workload::Service).unwrap_err();
    assert!(error.why.contains("6 s") && error.why.contains("2 s"), "{error}");
    let both = r#"{"times":{"ttl_ms":60000},"counted":{"heartbeat_timeout_ms":1000,"failure_threshold":3,
        "success_threshold":2,"failover_timeout_ms":30000}}"#;
    assert!(succession(both).check(Workload::Service).unwrap_err().why.contains("together"));
    let split = succession(r#"{"strategy":"split-brain-allowed"}"#);
    assert!(split.check(Workload::Service).is_ok());
    assert!(split.check(Workload::StatefulSql).is_err());
}

#[test]
fn counted_heartbeats_become_times() {
    let json = r#"{"counted":{"heartbeat_timeout_ms":1000,"failure_threshold":8,"success_threshold":2,
        "failover_timeout_ms":30000}}"#;
    let settings = succession(json).settings(Workload::Service, &nodes(&["a", "b"])).unwrap();
    assert_eq!((settings.ttl, settings.renew), (Span::from_secs(30), Span::from_secs(1)));
    assert_eq!(settings.fence_budget(), Span::from_secs(20));
}

#[test]
fn every_profile_holds() {
    for profile in ["lan", "wan", "kubernetes", "fast"] {
        let declared = succession(&format!(r#"{{"profile":"{profile}"}}"#));
        declared.check(Workload::Service).unwrap_or_else(|error| panic!("{profile}: {error}"));
        declared.check(Workload::StatefulSql).unwrap_or_else(|error| panic!("{profile}: {error}"));
    }
}

#[test]
fn what_is_read_is_written_the_same() {
    let json = r#"{"candidates":["a","b"],"profile":"fast","ladder":[{"rung":"kill","within_ms":700},{"rung":{"action":"power"},"within_ms":800}]}"#;
    assert_eq!(serde_json::to_string(&succession(json)).unwrap(), json);
}

#[test]
fn ports_are_named_for_each_candidate_or_none_is_of_use() {
    let with = |ports: &str| {
        let json = format!(
            r#"{{"candidates":["a","b"],"promotion":"require-proof","ports":{{{ports}}},
                "remote":{{"rung":{{"action":"switch-port"}},"within_ms":60000}}}}"#
        );
        succession(&json).check(Workload::Service).map_err(|error| error.to_string())
    };
    let port = r#"{"agent":"sw","device":"rack-3","port":"1/1/7"}"#;
    let both = format!(r#""a":[{port}],"b":[{port},{port}]"#);
    assert_eq!(with(&both), Ok(()));
    let wrong = |ports: &str, why: &str| {
        let error = with(ports).unwrap_err();
        assert!(error.contains(why), "{error}");
    };
    wrong("", "must name the switch ports");
    wrong(&format!(r#""a":[{port}]"#), "names none for the candidate `b`");
    wrong(&format!(r#"{both},"c":[{port}]"#), "`c`, which is no candidate");
    wrong(&format!(r#""a":[],"b":[{port}]"#), "names 0 for `a`");
    wrong(&format!(r#""a":[{port}],"b":[{}]"#, port.replace("1/1/7", "lg7")), "name its members one by one");
    let useless = succession(&format!(r#"{{"candidates":["a","b"],"ports":{{{both}}}}}"#));
    assert!(useless.check(Workload::Service).unwrap_err().why.contains("are of use to"));
    let own = r#"{"ladder":[{"rung":{"action":"switch-port"},"within_ms":1000}]}"#;
    assert!(succession(own).check(Workload::Service).unwrap_err().why.contains("an action of others"));
}
