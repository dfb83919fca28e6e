#!/usr/bin/env python3
"""Verifies an exported Flotilla ledger with nothing but the fleet's id: every signature, the chain of hashes, and
whether each author was allowed to do what the entry does. Written from docs/ledger-format.md, sharing no code with flt.

    flt admin log --export acme.ledger
    scripts/verify-ledger.py acme.ledger --fleet FLEET-ID [--log | --state]

Needs Python 3.9 and, from PyPI, cryptography and blake3; and the folder `verifier` beside it. It checks all that flt
checks. What no file can show it does not know: whether there are newer entries."""
import argparse, base64, datetime, re, sys

sys.dont_write_bytecode = True
try:
    from verifier.rules import Fleet, write
    from verifier.shapes import LINE, Refused, need, parse
except ImportError as error:
    sys.exit(f"verify-ledger: {error}; install it: pip install cryptography blake3")

LINE_MAX = 512 * 1024 // 3 * 4 + 1024


def lines(file):
    """The entries of an exported ledger: number of the line, bytes and signature."""
    number = 1
    while line := file.readline(LINE_MAX + 1):
        try:
            need(len(line) <= LINE_MAX, f"is longer than {LINE_MAX} bytes")
            need(line.endswith(b"\n"), "ends without a line break: the file is cut short")
            text = line[:-1].decode("utf-8", "replace")
            parsed = LINE(parse(text), text)
            yield number, base64.b64decode(parsed["entry"]), parsed["signature"]
        except Refused as why:
            raise Refused(f"line {number}: it {why}") from None
        number += 1


def verify(file, fleet_id, log=None):
    fleet = None
    for number, data, signature in lines(file):
        try:
            if fleet:
                fleet.apply(data, signature)
            else:
                fleet = Fleet(data, signature)
                need(fleet.fleet == fleet_id, f"founds the fleet {fleet.fleet}, and {fleet_id} was asked for")
        except Refused as why:
            raise Refused(f"line {number}: the entry {why}") from None
        if log:
            log(fleet)
    need(fleet, "the exported ledger is empty")
    return fleet


def log_line(fleet):
    entry, verb, what = fleet.last
    at = datetime.datetime(1970, 1, 1) + datetime.timedelta(milliseconds=entry["at"])
    keys = [what[field] for field in ("key", "coordinator", "to", "invite") if field in what]
    about = what.get("name") or (fleet.name_of(keys[0]) if keys else "")
    print(entry["seq"], at.isoformat(timespec="seconds") + "Z", fleet.last_author, verb, about)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("file")
    options.add_argument("--fleet", required=True, help="the fleet's id, 64 hex digits")
    options.add_argument("--log", action="store_true", help="print every entry: place, time, author, what")
    options.add_argument("--state", action="store_true", help="print what the entries amount to, as JSON")
    args = options.parse_args()
    try:
        need(re.fullmatch(r"[0-9a-fA-F]{64}", args.fleet), "the fleet's id should be 64 hex digits")
        with open(args.file, "rb") as file:
            fleet = verify(file, args.fleet.lower(), log_line if args.log else None)
    except (Refused, OSError) as error:
        sys.exit(f"verify-ledger: {args.file}: {error}")
    print(write(fleet.s) if args.state else f"ok: {fleet.head['seq'] + 1} entries of the fleet {fleet.name} "
          f"({fleet.fleet}), the newest is {fleet.head['hash']}, the state {fleet.digest()}")


if __name__ == "__main__":
    main()
