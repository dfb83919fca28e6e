"""Takes attempts, one a line (`G` founds anew, `E` goes on; then an exported entry), and says of each what
verify-ledger.py makes of it: `ok` and the state's digest, or `no` and why. A refusal must leave the state as it was."""
import importlib.util
import io
import os
import sys

sys.path.insert(0, os.path.dirname(sys.argv[1]))
spec = importlib.util.spec_from_file_location("verify_ledger", sys.argv[1])
ledger = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ledger)

fleet, digest = None, None
with open(sys.argv[2], "rb") as attempts:
    for line in attempts:
        try:
            (_, data, signature), = ledger.lines(io.BytesIO(line[1:]))
            if line[:1] == b"G":
                fleet = ledger.Fleet(data, signature)
            else:
                fleet.apply(data, signature)
            digest = fleet.digest()
            print("ok", digest)
        except ledger.Refused as why:
            changed = fleet and fleet.digest() != digest
            print("CHANGED" if changed else "no", ascii(str(why)))
