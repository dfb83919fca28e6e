# A coordinator, two agents and an admin on four machines: join, publish a files/1 score, converge, survive a restart.
#
# The script uses start_all, wait_for_unit, succeed, fail, wait_until_succeeds, systemctl and subtest alone, so that a
# driver for containers can run it as well (crates/flt/tests/it/nix_modules.rs holds it to that).
{ flake }:
{
  name = "flotilla-smoke";

  nodes =
    let
      agent = {
        imports = [ flake.nixosModules.agent ];
        services.flotilla.agent = {
          enable = true;
          ticketFile = "/etc/flotilla-secrets/ticket";
        };
      };
    in
    {
      coordinator = {
        imports = [ flake.nixosModules.coordinator ];
        services.flotilla.coordinator = {
          enable = true;
          openFirewall = true;
          genesisFile = "/etc/flotilla-secrets/genesis";
          settings.relay.listen = "0.0.0.0:4443";
        };
      };
      edge1 = agent;
      edge2 = agent;
      admin = {
        imports = [ flake.nixosModules.admin ];
        services.flotilla.admin = {
          enable = true;
          settings = {
            data = "/var/lib/flotilla-admin";
            ticket-file = "/etc/flotilla-secrets/ticket";
          };
        };
      };
    };

  testScript = ''
    import base64

    start_all()


    def hand_over(text, machine, name):
        encoded = base64.b64encode(text.encode()).decode()
        machine.succeed("install -d -m 0700 /etc/flotilla-secrets")
        machine.succeed(f"echo {encoded} | base64 -d > /etc/flotilla-secrets/{name}")


    with subtest("an admin founds the fleet, and the coordinator serves it"):
        admin.succeed("flt admin init --name smoke")
        hand_over(admin.succeed("cat /var/lib/flotilla-admin/genesis"), coordinator, "genesis")
        coordinator.succeed("systemctl restart flotilla-coordinator.service")
        coordinator.wait_for_unit("flotilla-coordinator.service")
        hand_over(coordinator.wait_until_succeeds("cat /var/lib/flotilla-coordinator/ticket"), admin, "ticket")

    with subtest("two agents join with an invite each"):
        for machine in [edge1, edge2]:
            hand_over(admin.succeed("flt admin invite --label role=edge"), machine, "ticket")
            machine.succeed("systemctl restart flotilla-hands.service flotilla-agent.service")
            machine.wait_for_unit("flotilla-agent.service")
        admin.wait_until_succeeds("flt admin node list | grep -q edge1")
        admin.wait_until_succeeds("flt admin node list | grep -q edge2")

    fleet = """
    [group.edges]
    on = "role=edge"

    [group.edges.score.greeting]
    kind = "files/1"
    spec = { root = "/srv/greeting", entries = { "hello.txt" = { content = "hello fleet\\n", mode = "0644" } } }
    """
    with subtest("a signed score converges on both"):
        hand_over(fleet, admin, "fleet.toml")
        admin.succeed("flt admin apply /etc/flotilla-secrets/fleet.toml")
        for machine in [edge1, edge2]:
            machine.wait_until_succeeds("grep -qx 'hello fleet' /srv/greeting/hello.txt")

    with subtest("a node that was away converges when it returns"):
        edge2.succeed("systemctl stop flotilla-agent.service")
        hand_over(fleet.replace("hello fleet", "hello again"), admin, "fleet.toml")
        admin.succeed("flt admin apply --no-wait /etc/flotilla-secrets/fleet.toml")
        edge1.wait_until_succeeds("grep -qx 'hello again' /srv/greeting/hello.txt")
        edge2.fail("grep -qx 'hello again' /srv/greeting/hello.txt")
        edge2.succeed("systemctl start flotilla-agent.service")
        edge2.wait_until_succeeds("grep -qx 'hello again' /srv/greeting/hello.txt")

    with subtest("the ledger verifies"):
        admin.succeed("flt admin log --verify")
  '';
}
