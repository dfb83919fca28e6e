"""Drives a switch with netmiko: logs in, elevates, reads, configures, saves, and prints what it saw as JSON.

    drive.py <device type> <port> <enable password>
"""

import json
import sys

from netmiko import ConnectHandler

kind, port, secret = sys.argv[1], int(sys.argv[2]), sys.argv[3]
old = kind == "old"
nos = kind == "nos"
# The templates that go with the type read the tables.
types = {"old": "brocade_fastiron", "new": "ruckus_fastiron", "nos": "brocade_nos"}

lag = {
    "old": ["lag uplink dynamic id 7", "ports ethernet 1/1/1 to 1/1/2", "primary-port 1/1/1", "deploy", "vlan 20 name servers", "tagged ethernet 1/1/1"],
    "new": ["lag uplink dynamic id 7", "ports ethernet 1/1/1 to 1/1/2", "vlan 20 name servers", "tagged lag 7"],
    "nos": [
        "interface Port-channel 7",
        "no shutdown",
        "interface TenGigabitEthernet 1/0/1",
        "channel-group 7 mode active type standard",
        "no shutdown",
        "interface TenGigabitEthernet 2/0/1",
        "channel-group 7 mode active type standard",
        "no shutdown",
    ],
}[kind]

seen = {}
with ConnectHandler(
    device_type=types[kind], host="127.0.0.1", port=port, username="admin", password="secret", secret=secret,
    conn_timeout=60, auth_timeout=60, banner_timeout=60, read_timeout_override=60,
) as switch:
    seen["prompt"] = switch.find_prompt()
    if not switch.check_enable_mode():
        switch.enable()
    seen["enabled"] = switch.find_prompt()
    seen["version"] = switch.send_command("show version")
    seen["refused"] = switch.send_command("show nonsense")
    seen["configured"] = switch.send_config_set(lag)
    seen["config mode left"] = not switch.check_config_mode()
    seen["lag"] = switch.send_command("show port-channel 7" if nos else "show lag uplink")
    seen["macs"] = switch.send_command("show mac-address-table" if nos else "show mac-address", use_textfsm=kind == "new")
    if not nos:
        for command in {"old": ["show lag brief", "show running-config vlan"], "new": ["show vlan"]}[kind]:
            seen[command] = switch.send_command(command, use_textfsm=True)
        seen["parts"] = switch.send_command("show version", use_textfsm=True)
        seen["interfaces"] = switch.send_command("show interfaces brief", use_textfsm=True)
    seen["running"] = switch.send_command("show running-config")
    seen["saved"] = switch.save_config()
json.dump(seen, sys.stdout)
