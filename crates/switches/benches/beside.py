"""The same as benches/session.rs, by netmiko: prints seconds as JSON.

    beside.py old|new|nos <port> <commands> <rounds>
"""

import json
import sys
import time

from netmiko import ConnectHandler

kind, port, commands, rounds = sys.argv[1], *map(int, sys.argv[2:])
old, nos = kind == "old", kind == "nos"
if nos:
    version, made = "Network Operating System Version", "channel-group 7 mode active type standard"
    members = ["te 1/0/1", "te 1/0/2", "te 2/0/1", "te 2/0/2"]
    lag = ["interface Port-channel 7", "no shutdown", "exit"]
    lag += [line for port in members for line in (f"interface {port}", made, "exit")]
    gone = [line for port in members for line in (f"interface {port}", "no channel-group", "exit")]
    gone += ["no interface Port-channel 7"]
else:
    version = "SW: Version"
    made = "lag uplink dynamic id 7\n ports ethe 1/1/1 to 1/1/2 ethe 2/1/1 to 2/1/2"
    lag = ["lag uplink dynamic id 7", "ports ethernet 1/1/1 to 1/1/2 ethernet 2/1/1 to 2/1/2"]
    lag += ["primary-port 1/1/1", "deploy"] if old else []
    gone = (["lag uplink dynamic id 7", "no deploy", "exit"] if old else []) + ["no lag uplink dynamic id 7"]


def connect():
    switch = ConnectHandler(
        device_type="brocade_nos" if nos else "brocade_fastiron" if old else "ruckus_fastiron", host="127.0.0.1", port=port,
        username="admin", password="secret", secret="enable", fast_cli=True,
        conn_timeout=60, auth_timeout=60, banner_timeout=60, read_timeout_override=60,
    )
    if not nos and not switch.check_enable_mode():
        switch.enable()
    switch.send_command("show clock")
    return switch


def timed(work):
    since = time.monotonic()
    done = work()
    return done, time.monotonic() - since


logins = []
for _ in range(3):
    switch, took = timed(connect)
    logins.append(took)
    switch.disconnect()
switch = connect()


def many():
    for _ in range(commands):
        assert version in switch.send_command("show version")


def make():
    switch.send_config_set(lag)
    running = switch.send_command("show running-config")
    assert running.count(made) == (4 if nos else 1), running
    saved = switch.save_config()
    assert nos or "Write startup-config done" in saved, saved


_, took = timed(many)
lags = []
for _ in range(rounds):
    lags.append(timed(make)[1])
    switch.send_config_set(gone)
    switch.save_config()
switch.disconnect()
json.dump({"logins": logins, "commands": took, "lags": lags}, sys.stdout)
