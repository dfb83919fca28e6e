//! Coordinators that go to another address, and nodes that ran meanwhile or were away.

use std::net::{Ipv4Addr, SocketAddr};

use testkit::{DEADLINE, Proc, free_port, until};

use super::pair::{Pair, kill};
use crate::processes::bed::ready;

/// The first coordinator, somewhere else.
fn first_at(pair: &Pair, listen: SocketAddr) -> Proc {
    let run = pair.bed.flt().named("coordinator-1").args(["coordinator", "run", "--config"]);
    let first = run.args(["coordinator/coordinator.toml", "--metrics", "off", "--listen", &listen.to_string()]).spawn();
    ready(&first);
    first
}

fn elsewhere() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()))
}

fn apply(pair: &Pair, text: &str, nodes: &[&str]) {
    pair.bed.declare("fleet.toml", text, &["true"]);
    pair.bed.admin(["apply", "fleet.toml", "--no-wait"]).ok();
    for node in nodes {
        pair.bed.wait_for_motd(node, text);
    }
}

#[test]
fn the_one_that_orders_moves_and_is_found_by_who_ran_and_who_was_away() {
    let pair = Pair::found();
    let (mut first, mut second) = pair.start();
    let (mut one, mut two) = (pair.bed.join("edge-1"), pair.bed.join("edge-2"));
    apply(&pair, "before\n", &["edge-1", "edge-2"]);
    kill(&mut two);
    kill(&mut first);
    let there = elsewhere();
    let first = first_at(&pair, there);
    until("the new place", DEADLINE, || {
        let list = pair.bed.json(["coordinator", "list"]);
        let addrs = list["coordinators"][0]["addrs"].to_string();
        if addrs.contains(&there.to_string()) { Ok(()) } else { Err(list) }
    });
    two.restart();
    pair.has_all("edge-1");
    pair.has_all("edge-2");
    // From now on it is alone, and everybody finds it at its new place: also who starts anew, and whose ticket is of before.
    kill(&mut second);
    apply(&pair, "there\n", &["edge-1", "edge-2"]);
    for agent in [&mut one, &mut two] {
        kill(agent);
        agent.restart();
    }
    apply(&pair, "again\n", &["edge-1", "edge-2"]);
    drop(first);
}

#[test]
fn one_that_is_alone_moves_to_where_it_said_it_would_be() {
    let pair = Pair::found();
    let mut first = pair.bed.start_coordinator();
    let (mut one, mut two) = (pair.bed.join("edge-1"), pair.bed.join("edge-2"));
    apply(&pair, "before\n", &["edge-1", "edge-2"]);
    kill(&mut two);
    let (here, there) = (pair.bed.listen().to_string(), elsewhere());
    pair.bed.admin(["coordinator", "place", "coordinator-1", "--addr", &here, "--addr", &there.to_string()]).ok();
    pair.has_all("edge-1");
    kill(&mut first);
    let first = first_at(&pair, there);
    apply(&pair, "there\n", &["edge-1"]);
    kill(&mut one);
    one.restart();
    apply(&pair, "again\n", &["edge-1"]);
    // Who was away knows the old place alone, and gets a ticket of now. It opens nothing: the node is a member.
    let ticket = pair.bed.admin(["coordinator", "ticket"]).ok();
    let mut two = pair.bed.agent("edge-2").args(["--join", ticket.trim()]).spawn();
    pair.bed.wait_for_motd("edge-2", "again\n");
    // Once is enough.
    kill(&mut two);
    let two = pair.bed.agent("edge-2").spawn();
    apply(&pair, "the last\n", &["edge-1", "edge-2"]);
    drop((first, two));
}
