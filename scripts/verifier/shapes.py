"""What entries look like: strict JSON, and what each field may hold. Anything else is refused."""
import base64, binascii, copy, functools, ipaddress, json, re, unicodedata

U16, U32, U64 = 2**16 - 1, 2**32 - 1, 2**64 - 1


class Refused(Exception):
    """Why a file, a line or an entry does not hold."""


class Map(dict):
    """An object with free keys: written in their order. Other dicts have their fields in the format's order."""


class Raw(str):
    """A JSON text that is kept as it stands."""


def need(holds, why):
    if not holds:
        raise Refused(why)


def controls(text):
    return any(unicodedata.category(c) == "Cc" for c in text)


# JSON: strictly, with the place of every value, and without recursion, so that nothing is too deep.

class Node:
    def __init__(self, value, start):
        self.value, self.start, self.end, self.deep = value, start, start, 0


class Pairs(list):
    """An object's members as they stand, doubled ones too."""


SPACE, SCALAR = re.compile(r"[ \t\n\r]*"), re.compile(
    r"(true|false|null)|(-?(?:0|[1-9][0-9]*))(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)


def parse(text):
    try:
        return parse_bounded(text)
    except ValueError as error:  # of the string scanner
        raise Refused(f"is not JSON: {error}") from None


def parse_bounded(text):
    skip, scan, opened, at = lambda at: SPACE.match(text, at).end(), json.decoder.scanstring, [], 0

    def key(at):
        at = skip(at)
        need(text[at:at + 1] == '"', f"is not JSON: a member's name is missing at character {at}")
        name, at = scan(text, at + 1, True)
        at = skip(at)
        need(text[at:at + 1] == ":", f"is not JSON: a colon is missing at character {at}")
        opened[-1].value.append([name, None])
        return at + 1
    while True:
        at = skip(at)
        node, first = Node(None, at), text[at:at + 1]
        if first in ("{", "["):
            node.value, at = (Pairs() if first == "{" else []), skip(at + 1)
            node.deep = len(opened) + 1
            if text[at:at + 1] != ("}" if first == "{" else "]"):
                opened.append(node)
                at = key(at) if first == "{" else at
                continue
            at += 1
        elif first == '"':
            node.value, at = scan(text, at + 1, True)
        else:
            found = SCALAR.match(text, at)
            need(found, f"is not JSON: a value is missing at character {at}")
            word, digits, fraction, exponent = found.groups()
            real = fraction or exponent or digits == "-0" or (digits and len(digits) > 20)
            node.value = {"true": True, "false": False, "null": None}[word] if word else 0.5 if real else int(digits)
            at = found.end()
        while True:  # a value is whole: it belongs into what is open
            node.end = at
            at = skip(at)
            if not opened:
                need(at == len(text), f"is not JSON: something follows at character {at}")
                return node
            outer, first = opened[-1], text[at:at + 1]
            outer.deep = max(outer.deep, node.deep)
            if isinstance(outer.value, Pairs):
                outer.value[-1][1] = node
            else:
                outer.value.append(node)
            if first == ",":
                at = key(at + 1) if isinstance(outer.value, Pairs) else at + 1
                break
            need(first == ("}" if isinstance(outer.value, Pairs) else "]"), f"is not JSON at character {at}")
            node, at = opened.pop(), at + 1


# Types: each a function from a value (and the whole text) to what it means.

def whole(most):
    def read(node, _):
        need(type(node.value) is int and 0 <= node.value <= most, f"holds no whole number up to {most}")
        return node.value
    return read


def string(node, _=None):
    need(type(node.value) is str, "holds something else where a string belongs")
    need(not re.search("[\ud800-\udfff]", node.value), "holds half a surrogate pair")
    return node.value


def matching(pattern, what):
    pattern = re.compile(pattern, re.ASCII)

    def read(node, _):
        need(pattern.fullmatch(string(node)), f"holds `{node.value[:80]}`, which is no {what}")
        return node.value
    return read


def hexed(node, text):
    return HEX(node, text).lower()


def base64ed(node, _=None):
    try:
        data = base64.b64decode(string(node), validate=True)
    except (binascii.Error, ValueError):
        raise Refused("holds no base64") from None
    need(base64.b64encode(data).decode() == node.value, "holds no base64 of the one right spelling")
    return node.value


def maybe(kind):
    def read(node, text):
        return None if node.value is None else kind(node, text)
    read.absent = None
    return read


def listed(kind):
    def read(node, text):
        need(type(node.value) is list, "holds something else where an array belongs")
        return [kind(one, text) for one in node.value]
    return read


def one_of(*names):
    def read(node, _):
        value = node.value  # the reference's reader also takes {"name": null}
        if isinstance(value, Pairs) and len(value) == 1 and value[0][1].value is None:
            value = value[0][0]
        need(type(value) is str and value in names, f"holds none of {', '.join(names)}")
        return value
    return read


def obj(**fields):
    """An object of these fields, or an array of their values. `(kind, default)` may be left out."""
    def read(node, text):
        if isinstance(node.value, Pairs):
            given = dict(node.value)
            need(len(given) == len(node.value), "names a field twice")
            need(given.keys() <= fields.keys(), f"has unknown fields: {sorted(given.keys() - fields.keys())}")
        else:
            need(type(node.value) is list and len(node.value) <= len(fields), "holds no object of its kind")
            given = dict(zip(fields, node.value))
        done = {}
        for name, kind in fields.items():
            kind, absent = kind if type(kind) is tuple else (kind, ...)
            if name in given:
                done[name] = kind(given[name], text)
            elif absent is not ...:
                done[name] = copy.copy(absent)
            else:
                need(isinstance(node.value, Pairs) and hasattr(kind, "absent"), f"lacks the field `{name}`")
                done[name] = None
        return done
    return read


def labels(node, text):
    need(isinstance(node.value, Pairs), "holds no labels")
    return Map((NAME(Node(key, 0), text), string(value)) for key, value in node.value)


def payload(node, text):
    return Raw(text[node.start:node.end])


def policy(node, text):
    done = obj(checks=(listed(check), []), check_seconds=(whole(U32), 60), apply_seconds=(whole(U32), 600),
               attempts=(whole(U32), 5))(node, text)
    if not done["checks"]:
        del done["checks"]
    return done


def check(node, text):
    need(node.deep < 128, "is nested too deeply")
    if isinstance(node.value, Pairs):
        types = [value for name, value in node.value if name == "type"]
        rest = Pairs(pair for pair in node.value if pair[0] != "type")
    else:
        types, rest = (node.value[:1], node.value[1:]) if type(node.value) is list else ([], [])
    need(len(types) == 1, "holds a check without a type, or with two")
    kind = string(types[0])
    need(kind in CHECKS, f"holds a check of unknown type `{kind[:80]}`")
    done = {"type": kind, **CHECKS[kind](Node(rest, node.start), text)}
    if done.get("contains", "") is None:
        del done["contains"]
    return done


def selector(node, _=None):
    terms(string(node))
    return node.value


@functools.lru_cache(4096)
def terms(text):
    """A selector's terms: (negated, sort, label's name, pattern)."""
    need(len(text.encode()) <= 1024 and not controls(text), "holds a selector that is too long or has controls")
    found = []
    for part in text.split(","):
        part = part.strip()
        negated, part = part.startswith("!"), part[1:] if part.startswith("!") else part
        key, sign, value = part.partition("=")
        if part.startswith("@"):
            term = ("tag", "", part[1:])
        elif sign:
            need(re.fullmatch(NAME_PATTERN, key), f"holds the selector `{text[:80]}`, and `{key}` is no label's name")
            term = ("label", key, value)
        else:
            term = ("name", "", part)
        need(re.fullmatch(r"[A-Za-z0-9_.*?/:+-]*", term[2]) and (term[2] or term[0] == "label"),
             f"holds `{text[:80]}`, which is no selector")
        found.append((negated, *term))
    return found


def address(node, _):
    found = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)(?:%([0-9]+))?\]|([0-9.]+)):([0-9]+)", string(node), re.ASCII)
    need(found, f"holds `{node.value[:80]}`, which is no address")
    six, scope, four, port = found.groups()
    try:
        ip, scope = ipaddress.ip_address(six or four), int(scope or 0)
    except ValueError:
        raise Refused(f"holds `{node.value[:80]}`, which is no address") from None
    need(ip.version == (6 if six else 4) and int(port) <= U16 and scope <= U32, "holds an address out of bounds")
    if not six:
        return f"{ip}:{int(port)}"
    shown = f"::ffff:{ip.ipv4_mapped}" if ip.ipv4_mapped else str(ip)
    return f"[{shown}{f'%{scope}' if scope else ''}]:{int(port)}"


NAME_PATTERN = r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?"
HEX, SIGNATURE = matching(r"[0-9a-fA-F]{64}", "32 bytes in hex"), matching(r"[0-9a-f]{128}", "signature")
NAME, DECLARATION = matching(NAME_PATTERN, "name"), matching(f"{NAME_PATTERN}/{NAME_PATTERN}", "declaration's name")
KIND, SUBJECT = matching(f"{NAME_PATTERN}/[1-9][0-9]{{0,2}}", "kind"), matching(r"[!-~]{1,200}", "subject")
KINDS, MS = matching(r"[a-z0-9_./*-]{1,80}", "pattern of kinds"), whole(U64)
ALL = ["grant", "enroll", "publish", "rollout", "tunnel", "exec", "read"]
CHECKS = {
    "exec": obj(command=listed(lambda n, t: string(n)), seconds=(whole(U32), 10)), "tcp": obj(address=string),
    "http": obj(url=string, status=(whole(U16), 200), contains=(maybe(string), None)),
    "unit": obj(name=string, stable_seconds=(whole(U32), 2)), "contact": obj(),
}
FOUNDER = obj(key=hexed, name=NAME)
RECOVERY = obj(keys=listed(FOUNDER), threshold=whole(255))
APPROVALS = listed(obj(key=hexed, signature=SIGNATURE))
BODIES = {
    "genesis": obj(name=NAME, nonce=hexed, admins=listed(FOUNDER), coordinators=listed(FOUNDER),
                   recovery=(maybe(RECOVERY), None)),
    "grant": obj(to=hexed, name=NAME, verbs=listed(one_of(*ALL)), on=selector, kinds=listed(KINDS),
                 expires=(maybe(MS), None)),
    "revoke": obj(key=hexed, reason=string, compromised_since=(maybe(MS), None)),
    "enroll": obj(key=hexed, name=NAME, role=one_of("agent", "coordinator"), labels=(labels, Map()),
                  replaces=(maybe(hexed), None)),
    "rotate": obj(to=hexed, signature=SIGNATURE),
    "quarantine": obj(key=hexed, reason=string), "release": obj(key=hexed),
    "invite": obj(invite=hexed, name=(maybe(NAME), None), labels=(labels, Map()), expires=MS, uses=whole(U32),
                  replaces=(maybe(hexed), None)),
    "redeem": obj(invite=hexed, key=hexed, name=NAME, invite_signature=SIGNATURE, key_signature=SIGNATURE),
    "publish": obj(name=DECLARATION, on=selector, kind=KIND, subject=SUBJECT,
                   policy=(policy, {"check_seconds": 60, "apply_seconds": 600, "attempts": 5}), payload=payload,
                   artifacts=(listed(obj(hash=hexed, size=MS)), []), note=(maybe(string), None)),
    "withdraw": obj(name=DECLARATION), "checkpoint": obj(state=hexed), "appoint": obj(coordinator=hexed),
    "place": obj(coordinator=hexed, addrs=(listed(address), []), relay=(maybe(
        obj(url=string, ca=(maybe(base64ed), None), quic_port=(maybe(whole(U16)), None))), None)),
    "recover": obj(name=NAME, revoke=(listed(hexed), []), compromised_since=(maybe(MS), None), approvals=APPROVALS),
    "set-recovery": obj(recovery=(maybe(RECOVERY), None), approvals=(APPROVALS, [])),
}


def body(node, text):
    need(isinstance(node.value, Pairs) and len(node.value) == 1, "has a body that is not one thing")
    (verb, what), = node.value
    need(verb in BODIES, f"does something unknown: `{verb[:80]}`")
    return verb, BODIES[verb](what, text)


ENTRY = obj(fleet=maybe(hexed), seq=MS, prev=maybe(hexed), at=MS, not_after=(maybe(MS), None), author=hexed, body=body)
LINE = obj(entry=base64ed, signature=SIGNATURE)
