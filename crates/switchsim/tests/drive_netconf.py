"""Drives a switch with ncclient: greets, asks for everything page by page, is refused, and prints what it saw as JSON.

    drive_netconf.py <port>
"""

import json
import sys

from lxml import etree
from ncclient import manager
from ncclient.operations import RPCError
from ncclient.xml_ import to_ele

EXT = "urn:brocade.com:mgmt:brocade-interface-ext"
LAG = "urn:brocade.com:mgmt:brocade-lag"
FABRIC = "urn:brocade.com:mgmt:brocade-fabric-service"
CONFIG = "urn:brocade.com:mgmt:brocade-interface"


def pages(switch, namespace, request, entry, after):
    """All entries, and how many answers they came in."""
    found, count, last = [], 0, ""
    while True:
        reply = switch.dispatch(to_ele(f'<{request} xmlns="{namespace}">{last}</{request}>'))
        root = etree.fromstring(reply.xml.encode())
        page = root.findall(f"{{{namespace}}}{entry}")
        found += page
        count += 1
        if root.find(f"{{{namespace}}}has-more").text != "true":
            return found, count
        last = after(root, page)


def text(element, namespace, name):
    return element.find(f"{{{namespace}}}{name}").text


def after_interface(_, page):
    kind, name = (text(page[-1], EXT, f"interface-{what}") for what in ("type", "name"))
    return ("<last-rcvd-interface><interface-type>%s</interface-type><interface-name>%s</interface-name>"
            "</last-rcvd-interface>" % (kind, name))


seen = {}
with manager.connect(
    host="127.0.0.1", port=int(sys.argv[1]), username="admin", password="secret", hostkey_verify=False,
    allow_agent=False, look_for_keys=False, timeout=60,
) as switch:
    seen["base"] = sorted(uri for uri in switch.server_capabilities if uri.startswith("urn:ietf:params:netconf:base"))
    interfaces, seen["interface pages"] = pages(switch, EXT, "get-interface-detail", "interface", after_interface)
    seen["interfaces"] = [[text(one, EXT, "if-name"), text(one, EXT, "line-protocol-state")] for one in interfaces]
    vlans, seen["vlan pages"] = pages(
        switch, EXT, "get-vlan-brief", "vlan",
        lambda root, _: f"<last-rcvd-vlan-id>{text(root, EXT, 'last-vlan-id')}</last-rcvd-vlan-id>")
    seen["vlans"] = {text(one, EXT, "vlan-id"): text(one, EXT, "vlan-name") for one in vlans}
    lags, _ = pages(
        switch, LAG, "get-port-channel-detail", "lacp",
        lambda _, page: f"<last-aggregator-id>{text(page[-1], LAG, 'aggregator-id')}</last-aggregator-id>")
    seen["lags"] = {text(one, LAG, "aggregator-id"): [
        [text(member, LAG, "interface-name"), text(member, LAG, "sync")]
        for member in one.findall(f"{{{LAG}}}aggr-member")] for one in lags}
    links = etree.fromstring(switch.dispatch(to_ele(f'<show-linkinfo xmlns="{FABRIC}"/>')).xml.encode())
    seen["links"] = [link.text for link in links.iter(f"{{{FABRIC}}}linkinfo-isllink-srcport-interface")]
    config = switch.get_config("running", filter=("subtree", f'<interface xmlns="{CONFIG}"/>')).data_ele
    seen["groups"] = [text(group, CONFIG, "port-int") for group in config.iter(f"{{{CONFIG}}}channel-group")]
    try:
        switch.dispatch(to_ele('<get-nonsense xmlns="urn:x"/>'))
    except RPCError as error:
        seen["refused"] = [error.tag, error.severity, error.message]
json.dump(seen, sys.stdout)
