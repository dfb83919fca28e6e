"""Who a key is, what a selector means, what a right covers, and which values are out of bounds."""
import functools, re

from blake3 import blake3
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from verifier.shapes import ALL, ENTRY, U16, Refused, controls, need, parse, terms

ENTRY_MAX = 512 * 1024

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
Y8 = 0x5fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826
SMALL = {0, 1, P - 1, Y8, P - Y8}  # the y of all points of small order


@functools.lru_cache(65536)
def is_key(key):
    """Whether the bytes are a point on the curve, and not of small order."""
    y = (int.from_bytes(bytes.fromhex(key), "little") & (2**255 - 1)) % P
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    return y not in SMALL and pow(square, (P - 1) // 2, P) == 1


def signed(key, domain, message, signature):
    """Strictly: OpenSSL compares R as bytes without the cofactor, but knows no small orders."""
    data = bytes.fromhex(signature)
    r = (int.from_bytes(data[:32], "little") & (2**255 - 1)) % P
    if not is_key(key) or r in SMALL or int.from_bytes(data[32:], "little") >= L:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(data, domain + message)
        return True
    except (InvalidSignature, ValueError):
        return False


def binary(*keys):
    return b"".join(map(bytes.fromhex, keys))


def read_entry(data, signature):
    """The entry, its body and its hash, if the signature is its author's."""
    need(len(data) <= ENTRY_MAX, f"has more than {ENTRY_MAX} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise Refused("is not UTF-8") from None
    entry = ENTRY(parse(text), text)
    need(signed(entry["author"], b"flotilla ledger 1\0", data, signature), "is not signed by its author")
    return entry, entry["body"], blake3(data + binary(signature)).hexdigest()


@functools.lru_cache(65536)
def glob(pattern, text):
    p = t = 0
    star = None
    while t < len(text):
        if p < len(pattern) and pattern[p] == "*":
            star, p = (p, t), p + 1
        elif p < len(pattern) and pattern[p] in ("?", text[t]):
            p, t = p + 1, t + 1
        elif star:
            star = (star[0], star[1] + 1)
            p, t = star[0] + 1, star[1]
        else:
            return False
    return not pattern[p:].strip("*")


def means(selector, name, tags):
    def hit(term):
        _, sort, key, pattern = term
        if sort == "name":
            return glob(pattern, name)
        if sort == "tag":
            return any((not v and glob(pattern, k)) or (k == "tag" and glob(pattern, v)) for k, v in tags.items())
        return key in tags and glob(pattern, tags[key])
    found = terms(selector)
    wanted = [term for term in found if not term[0]]
    return (not wanted or any(map(hit, wanted))) and not any(hit(term) for term in found if term[0])


def is_within(inner, outer):
    """Whether all that `inner` can ever mean, `outer` means."""
    def lies(a, b):
        p, q = a[3], b[3]
        return a[1:3] == b[1:3] and (p == q or (not ("?" in q and "*" in p) and glob(q, p)))
    if inner == outer or outer == "*":
        return True
    mine, theirs = terms(inner), terms(outer)
    positive = [t for t in mine if not t[0]]
    wanted = all(t[0] for t in theirs) or (
        positive and all(any(not o[0] and lies(t, o) for o in theirs) for t in positive))
    return wanted and all(any(t[0] and lies(t, o) for t in mine) for o in theirs if o[0])


def check_note(text):
    need(text is None or (len(text.encode()) <= 500 and not controls(text)), "has a note over 500 bytes, or controls")


def check_labels(tags):
    need(len(tags) <= 64, "has more than 64 labels")
    need(all(re.fullmatch(r"[A-Za-z0-9_./:+-]{0,128}", v) for v in tags.values()), "has a label's value out of bounds")


def check_recovery(recovery):
    keys, threshold = recovery["keys"], recovery["threshold"]
    need(1 <= len(keys) <= 16 and 1 <= threshold <= len(keys), "has recovery keys or a threshold out of bounds")
    need(all(is_key(k["key"]) for k in keys), "has a recovery key that is no key")
    need(len({k["key"] for k in keys}) == len({k["name"] for k in keys}) == len(keys), "names a recovery key twice")


def check_policy(policy):
    need(1 <= policy["check_seconds"] <= 3600 and 1 <= policy["apply_seconds"] <= 86400
         and 1 <= policy["attempts"] <= 20 and len(policy.get("checks", [])) <= 32, "has a policy out of bounds")
    for c in policy.get("checks", []):
        words, spaced = c.get("command", []), lambda text: controls(text) or any(x.isspace() for x in text)
        if c["type"] == "exec":
            holds = words and words[0] and not any("\0" in w for w in words) and len(words) <= 64 \
                and sum(len(w.encode()) for w in words) <= 4096 and 1 <= c["seconds"] <= 600
        elif c["type"] == "tcp":
            host, _, port = c["address"].rpartition(":")
            holds = host and len(c["address"].encode()) <= 300 and not spaced(c["address"]) \
                and re.fullmatch(r"\+?0*[0-9]{1,5}", port, re.ASCII) and 1 <= int(port) <= U16
        elif c["type"] == "http":
            holds = len(c.get("contains", "").encode()) <= 4096 and not spaced(c["url"]) \
                and c["url"].startswith("http://") and len(c["url"].encode()) <= 2048 and 100 <= c["status"] <= 599
        elif c["type"] == "unit":
            holds = re.fullmatch(r"(?!-)[A-Za-z0-9_.@:\\-]{1,255}", c["name"]) and c["stable_seconds"] <= 600
        else:
            holds = True
        need(holds, f"has a check of type {c['type']} that is out of bounds")


EVERYTHING = {"verbs": ALL, "scopes": [], "through": []}


def is_unlimited(cap):
    return all(s["on"] == "*" and "*" in s["kinds"] for s in cap["scopes"])


def is_root(admin):
    return any(len(c["verbs"]) == 7 and is_unlimited(c) and all(s["expires"] is None for s in c["scopes"])
               for c in admin["capabilities"])


def covers_kind(cap, kind):
    return all(any(glob(p, kind) for p in s["kinds"]) for s in cap["scopes"])


def covers_node(cap, name, tags):
    return all(means(s["on"], name, tags) for s in cap["scopes"])


def covers_selection(cap, selectors):
    return all(s["on"] == "*" or any(is_within(x, s["on"]) for x in selectors) for s in cap["scopes"])


def within(cap):
    return list(dict.fromkeys(s["on"] for s in cap["scopes"] if s["on"] != "*"))


def expiry(cap):
    return min((s["expires"] for s in cap["scopes"] if s["expires"] is not None), default=None)


def given(cap):
    """The entry that gave it."""
    return cap["scopes"][-1]["since"] if cap["scopes"] else 0


def is_like(a, b):
    plain = lambda c: (c["verbs"], c["through"], [(s["on"], s["kinds"], s["expires"]) for s in c["scopes"]])
    return plain(a) == plain(b)
