"""The fleet's state and what every entry does to it: the same data, under the same names, as the reference's."""
import base64, copy, json

from blake3 import blake3

from verifier.rights import (
    EVERYTHING, binary, check_labels, check_note, check_policy, check_recovery, covers_kind, covers_node,
    covers_selection, expiry, given, is_key, is_like, is_root, is_unlimited, means, read_entry, signed, within)
from verifier.shapes import ALL, U64, Map, Raw, Refused, need

AT_MAX, DAY = 253402300799999, 24 * 60 * 60 * 1000


class Fleet:
    def __init__(self, data, signature):
        """Founds the fleet by its genesis entry."""
        entry, (verb, g), hash = read_entry(data, signature)
        need(verb == "genesis", "is no genesis entry, and the first one must be")
        need(entry["seq"] == 0 and entry["prev"] is None and entry["fleet"] is None, "is no genesis entry: it follows")
        need(entry["at"] <= AT_MAX, "is dated after the year 9999")
        admins, coordinators, author = g["admins"], g["coordinators"], entry["author"]
        need(any(a["key"] == author for a in admins), "is not signed by one of the admins it names")
        need(coordinators and len(admins) <= 32 and len(coordinators) <= 32, "names no coordinator, or too many")
        if g["recovery"]:
            check_recovery(g["recovery"])
        keys = [f["key"] for f in admins + coordinators]
        need(all(map(is_key, keys)), "names a key that is no key")
        keys += [f["key"] for f in (g["recovery"] or {"keys": []})["keys"]]
        need(len(set(keys)) == len(keys), "names one key twice")
        need(all(len({f["name"] for f in fs}) == len(fs) for fs in (admins, coordinators)), "names two alike")
        self.s = {
            "fleet": hash, "name": g["name"], "head": {"seq": 0, "hash": hash}, "time": entry["at"],
            "admins": Map((f["key"], self.admin(f["name"], copy.deepcopy(EVERYTHING), None, 0)) for f in admins),
            "members": Map((f["key"], self.member(f["name"], "coordinator", Map(), 0, None, {"seq": 0, "by": author}))
                           for f in coordinators),
            "invites": Map(), "declarations": Map(), "revoked": Map(), "rotated": Map(),
            "orderer": coordinators[0]["key"], "supervised": 0, "recovery":
                g["recovery"] and {"recovery": g["recovery"], "since": 0, "by": author},
        }
        self.last, self.last_author = (entry, verb, g), self.name_of(author)

    @staticmethod
    def admin(name, cap, giver, since):
        return {"name": name, "capabilities": [cap] if cap else [], "given_by": giver, "since": since}

    @staticmethod
    def member(name, role, tags, since, invite, voucher, changed=None, place=None, own=None):
        return {"name": name, "role": role, "labels": tags, "since": since, "invite": invite, "voucher": voucher,
                "changed": changed, "quarantine": None, "place": place, "own": own or {"after": 0, "count": 0}}

    def __getattr__(self, name):
        try:
            return self.__dict__["s"][name]
        except KeyError:
            raise AttributeError(name) from None

    def apply(self, data, signature):
        """Applies the next entry, or raises Refused and is as it was."""
        entry, (verb, what), hash = read_entry(data, signature)
        author = entry["author"]
        need(entry["fleet"] == self.fleet, "belongs to another fleet")
        need(entry["prev"] == self.head["hash"] and entry["seq"] == self.head["seq"] + 1 <= U64,
             f"does not follow entry {self.head['seq']}")
        need(author not in self.revoked, f"is by the key {author}, which was revoked")
        need(entry["at"] <= AT_MAX, "is dated after the year 9999")
        need(entry["not_after"] is None or max(self.time, entry["at"]) <= entry["not_after"], "came too late")
        time, name = self.time, self.name_of(author)
        if author in self.admins:
            time = max(time, entry["at"] if is_root(self.admins[author]) else min(entry["at"], time + DAY))
        own = None
        if author in self.members and verb != "redeem":
            own = self.members[author]["own"]
            own = {"after": self.supervised, "count": 1 + (own["count"] if own["after"] == self.supervised else 0)}
            need(own["count"] <= 16, f"is one too many that {name} wrote since an admin's last one")
        self.entry, self.author, self.at = entry, author, max(entry["at"], self.time)
        getattr(self, "do_" + verb.replace("-", "_"))(what)
        now = self.rotated.get(author, author)
        if own and now in self.members:
            self.members[now]["own"] = own
        elif not own and author in self.admins:
            self.s["supervised"] = entry["seq"]
        self.s["head"], self.s["time"] = {"seq": entry["seq"], "hash": hash}, time
        self.last, self.last_author = (entry, verb, what), name

    def digest(self):
        return blake3(write(self.s).encode()).hexdigest()

    def name_of(self, key):
        return (self.admins.get(key) or self.members.get(key) or {"name": key[:10]})["name"]

    def allowed(self, holds, what):
        need(holds, f"is not {self.name_of(self.author)}'s to enter: no right to {what}")

    def holding(self, verb):
        """The author's capabilities with this verb that have not ended."""
        return [c for c in self.admins.get(self.author, {"capabilities": []})["capabilities"]
                if verb in c["verbs"] and all(s["expires"] is None or self.at < s["expires"] for s in c["scopes"])]

    def everywhere(self, verb):
        return any(map(is_unlimited, self.holding(verb)))

    def may_enroll(self, name, tags):
        return next((c for c in self.holding("enroll") if name is None or covers_node(c, name, tags)), None)

    def is_role(self, key, role):
        return key in self.members and self.members[key]["role"] == role

    def check_new_key(self, key):
        need(is_key(key), "names a key that is no ed25519 public key")
        need(key not in self.invites and key not in self.revoked, f"names a key that is no fresh one: {key}")

    def check_free(self, key, name, role, replaces):
        need(key not in self.admins, "names an admin's key")
        need(key not in self.members or self.members[key]["role"] == role, "names the key of a member of another role")
        need(all(m["name"] != name or k in (key, replaces) for k, m in self.members.items()),
             f"takes the name `{name}`")

    def act(self):
        return {"seq": self.entry["seq"], "by": self.author}

    def do_genesis(self, _):
        raise Refused("is a second genesis entry")

    def do_grant(self, g):
        verbs = [v for v in ALL if v in g["verbs"]]
        need(verbs and 1 <= len(g["kinds"]) <= 64, "needs at least one verb and 1 to 64 kinds")
        self.check_new_key(g["to"])
        need(g["to"] not in self.members, "gives rights to a member")
        need(all(a["name"] != g["name"] or k == g["to"] for k, a in self.admins.items()), "takes an admin's name")
        giver = next((c for c in self.holding("grant") if set(verbs) <= set(c["verbs"])), None)
        self.allowed(giver, "grant this")
        need(len(giver["through"]) < 16, "hands on a right that went through 16 hands")
        scope = {"on": g["on"], "kinds": g["kinds"], "expires": g["expires"], "since": self.entry["seq"]}
        cap = {"verbs": verbs, "scopes": copy.deepcopy(giver["scopes"]) + [scope],
               "through": giver["through"] + [self.author]}
        old = [c for c in self.admins.get(g["to"], {"capabilities": []})["capabilities"]
               if expiry(c) is None or expiry(c) > self.time]
        known = any(is_like(c, cap) for c in old)
        need(known or sum(c["through"][-1:] == [self.author] for c in old) < 16, "gives more than 16 rights")
        admin = self.admins.setdefault(g["to"], self.admin(g["name"], None, self.author, self.entry["seq"]))
        admin["capabilities"] = old if known else old + [cap]

    def do_revoke(self, r):
        check_note(r["reason"])
        need(r["key"] not in self.rotated, "revokes a key that was rotated to another one")
        since = r["compromised_since"]
        if since is None:
            return self.revoke_key(r["key"])
        need(1 <= since <= self.head["seq"], "names no place in the ledger")
        with Undo(self):
            self.allowed(self.everywhere("grant"), "declare a key compromised")
            if r["key"] not in self.revoked:
                self.revoke_key(r["key"])
            self.void([r["key"]], since)

    def revoke_key(self, key):
        if key in self.invites:
            i = self.invites[key]
            self.allowed(any(i["by"] == self.author or covers_selection(c, i["within"]) or (
                i["name"] is not None and covers_node(c, i["name"], i["labels"])) for c in self.holding("enroll")),
                "withdraw this invite")
            del self.invites[key]
        elif key in self.members:
            m = self.members[key]
            if m["role"] == "agent":
                self.allowed(self.may_enroll(m["name"], m["labels"]), f"remove `{m['name']}`")
            else:
                self.allowed(self.everywhere("grant"), f"remove `{m['name']}`")
                need(key != self.orderer and sum(x["role"] == "coordinator" for x in self.members.values()) > 1,
                     "removes the only coordinator, or the one that orders the ledger")
            del self.members[key]
        else:
            need(key in self.admins, f"revokes a key that is nobody's: {key}")
            self.allowed(key == self.author or self.everywhere("grant") or (self.holding("grant") and all(
                self.author in c["through"] for c in self.admins[key]["capabilities"])), "revoke this admin")
            need(any(k != key and is_root(a) for k, a in self.admins.items()), "leaves nobody who can grant")
            self.drop_admin(key)
        self.revoked[key] = self.entry["seq"]

    def drop_admin(self, key):
        del self.admins[key]
        for gone in [key, *(k for k, i in self.invites.items() if i["by"] == key)]:
            self.invites.pop(gone, None)
            self.revoked[gone] = self.entry["seq"]

    def void(self, keys, since):
        seq, since_of, doubtful = self.entry["seq"], dict.fromkeys(keys, since), {}
        is_void = lambda by, at: by in since_of and at >= since_of[by]
        while True:
            fallen = []
            for key, admin in self.admins.items():
                before = admin["capabilities"]
                admin["capabilities"] = [c for c in before if not any(
                    is_void(by, s["since"]) for by, s in zip(c["through"], c["scopes"]))]
                for cap in before:
                    if cap not in admin["capabilities"]:
                        doubtful[key] = min(given(cap), doubtful.get(key, U64))
                if before and not admin["capabilities"]:
                    fallen.append((key, admin["since"]))
            for key, at in fallen:
                del self.admins[key]
                self.revoked[key], since_of[key] = seq, at
            if not fallen:
                break
        def now(key):
            while key in self.rotated:
                key = self.rotated[key]
            return key
        since_of.update({old: since_of[now(old)] for old in self.rotated if now(old) in since_of})

        def unfounded(by, at, enough):
            by = now(by)
            return by in self.admins and at >= doubtful.get(by, U64 + 1) and not any(
                given(c) < at and enough(c) for c in self.admins[by]["capabilities"])

        def end(all_of, holds):
            for key in [key for key, one in all_of.items() if not holds(one)]:
                del all_of[key]
                if all_of is not self.declarations:
                    self.revoked[key] = seq
        has = lambda c, verb: verb in c["verbs"]
        apart = {}
        for key, m in self.members.items():
            enough = lambda c: has(c, "enroll") and covers_node(c, m["name"], m["labels"])
            v, c = m["voucher"], m["changed"]
            if m["role"] == "agent" and c and (is_void(c["by"], c["seq"]) or unfounded(c["by"], c["seq"], enough)):
                apart[key] = f"changed by a compromised key in entry {c['seq']}"
            elif m["role"] == "agent" and unfounded(v["by"], v["seq"], enough):
                apart[key] = f"let in by a compromised right in entry {v['seq']}"
        r = self.recovery
        if r and r["since"] > 0 and (is_void(r["by"], r["since"]) or unfounded(
                r["by"], r["since"], lambda c: is_root({"capabilities": [c]}))):
            self.s["recovery"] = None
        end(self.declarations, lambda d: not is_void(d["author"], d["generation"]) and not unfounded(
            d["author"], d["generation"], lambda c: has(c, "publish") and covers_kind(c, d["kind"])
            and covers_selection(c, [d["on"], *d["within"]])))
        end(self.invites, lambda i: not is_void(i["by"], i["since"]) and not unfounded(
            i["by"], i["since"], lambda c: has(c, "enroll") and covers_selection(c, i["within"])))
        end(self.members, lambda m: not is_void(m["voucher"]["by"], m["voucher"]["seq"]) and not (
            m["role"] == "coordinator" and unfounded(
                m["voucher"]["by"], m["voucher"]["seq"], lambda c: has(c, "grant") and is_unlimited(c))))
        for key in apart.keys() & self.members.keys():
            self.members[key]["quarantine"] = {"act": self.act(), "reason": apart[key]}
        need(any(map(is_root, self.admins.values())), "leaves nobody who can grant")
        need(self.is_role(self.orderer, "coordinator"), "takes the coordinator that orders the ledger")

    def approved(self, domain, message, approvals):
        need(len(approvals) <= 16, "has too many approvals")
        by = {a["key"] for a in approvals if signed(a["key"], domain, message, a["signature"])}
        found = sum(k["key"] in by for k in self.recovery["recovery"]["keys"])
        need(found >= self.recovery["recovery"]["threshold"],
             f"is approved by {found} recovery keys, and that is too few")

    def do_recover(self, r):
        need(self.recovery, "recovers a fleet that has no recovery keys")
        need(len(r["revoke"]) <= 64, "revokes too many keys")
        since = r["compromised_since"]
        message = binary(self.fleet) + self.recovery["since"].to_bytes(8, "big") + binary(self.author) \
            + (U64 if since is None else since).to_bytes(8, "big") + len(r["revoke"]).to_bytes(2, "big") \
            + binary(*r["revoke"]) + r["name"].encode()
        self.approved(b"flotilla recover 1\0", message, r["approvals"])
        self.check_new_key(self.author)
        need(all(k["key"] != self.author for k in self.recovery["recovery"]["keys"]), "makes a recovery key an admin's")
        need(self.author not in self.members, "makes a member an admin")
        need(all(a["name"] != r["name"] or k == self.author or k in r["revoke"] for k, a in self.admins.items()),
             "takes an admin's name")
        need(since is None or 1 <= since <= self.head["seq"], "names no place in the ledger")
        with Undo(self):
            for key in r["revoke"]:
                need(key != self.author and key in self.admins, f"revokes a key that is no other admin's: {key}")
                self.drop_admin(key)
            self.admins[self.author] = self.admin(r["name"], copy.deepcopy(EVERYTHING), None, self.entry["seq"])
            if since is not None:
                self.void(r["revoke"], since)

    def do_set_recovery(self, r):
        self.allowed(self.author in self.admins and is_root(self.admins[self.author]), "set recovery keys")
        need(len(r["approvals"]) <= 16, "has too many approvals")
        new = r["recovery"] or {"keys": [], "threshold": 0}
        if self.recovery:
            message = binary(self.fleet) + self.recovery["since"].to_bytes(8, "big") + bytes([new["threshold"]])
            message += binary(*(k["key"] for k in new["keys"]))
            self.approved(b"flotilla recovery keys 1\0", message, r["approvals"])
        if r["recovery"]:
            check_recovery(new)
            for k in new["keys"]:
                self.check_new_key(k["key"])
                need(k["key"] not in self.members and k["key"] not in self.admins, "makes a key in use a recovery key")
        self.s["recovery"] = r["recovery"] and {"recovery": new, "since": self.entry["seq"], "by": self.author}

    def replaced(self, old, key):
        need(old is None or (key not in self.members and self.is_role(old, "agent")), "replaces what is no agent")
        return self.members.get(old)

    def replace(self, old):
        if old is not None:
            del self.members[old]
            self.revoked[old] = self.entry["seq"]

    def do_enroll(self, e):
        check_labels(e["labels"])
        self.check_new_key(e["key"])
        old, replaced = self.members.get(e["key"]), self.replaced(e["replaces"], e["key"])
        if e["role"] == "agent":
            all_of = [(m["name"], m["labels"]) for m in (old, replaced, e) if m]
            self.allowed(all(self.may_enroll(*node) for node in all_of), f"enroll `{e['name']}`")
        else:
            self.allowed(self.everywhere("grant"), f"enroll `{e['name']}`")
            need(replaced is None, "replaces an agent by a coordinator")
        self.check_free(e["key"], e["name"], e["role"], e["replaces"])
        self.replace(e["replaces"])
        self.members[e["key"]] = self.member(
            e["name"], e["role"], e["labels"], old["since"] if old else self.entry["seq"], old and old["invite"],
            old["voucher"] if old else self.act(), old and self.act(), old and old["place"], old and old["own"])

    def do_invite(self, i):
        check_labels(i["labels"])
        need(1 <= i["uses"] <= (10000 if i["name"] is None else 1), "may be used 0 times, or too often")
        self.check_new_key(i["invite"])
        need(i["invite"] not in self.members and i["invite"] not in self.admins, "has no fresh key")
        replaced = self.replaced(i["replaces"], i["invite"])
        if replaced:
            need(i["name"] == replaced["name"], "replaces an agent under another name")
            self.allowed(self.may_enroll(replaced["name"], replaced["labels"]), f"replace `{replaced['name']}`")
        cap = self.may_enroll(i["name"], i["labels"])
        self.allowed(cap, "invite nodes with these labels")
        ends = i["expires"] if expiry(cap) is None else min(i["expires"], expiry(cap))
        self.invites[i["invite"]] = {
            "name": i["name"], "labels": i["labels"], "expires": ends, "uses_left": i["uses"], "by": self.author,
            "since": self.entry["seq"], "replaces": i["replaces"], "within": within(cap)}

    def do_redeem(self, r):
        self.allowed(self.is_role(self.author, "coordinator"), "redeem invites")
        i = self.invites.get(r["invite"])
        need(i, "redeems what is no open invite")
        message = binary(self.fleet, r["invite"], r["key"]) + r["name"].encode()
        need(all(signed(r[k], b"flotilla redeem 1\0", message, r[s]) for k, s in (
            ("invite", "invite_signature"), ("key", "key_signature"))),
             "does not prove that it holds the invite's secret")
        need(self.at < i["expires"] and i["uses_left"] > 0, "redeems an invite that has ended or is used up")
        need(i["name"] in (None, r["name"]), f"redeems an invite for `{i['name']}`")
        need(all(means(s, r["name"], i["labels"]) for s in i["within"]), "takes a name that its inviter may not enroll")
        self.check_new_key(r["key"])
        need(r["key"] not in self.members, "redeems with a member's key")
        if i["replaces"] is not None:
            old = self.members.get(i["replaces"], {"role": None})
            need(old["role"] == "agent" and old["name"] == i["name"]
                 and all(means(s, old["name"], old["labels"]) for s in i["within"]), "replaces what is that agent no more")
        self.check_free(r["key"], r["name"], "agent", i["replaces"])
        self.replace(i["replaces"])
        i["uses_left"] -= 1
        self.members[r["key"]] = self.member(r["name"], "agent", copy.copy(i["labels"]), self.entry["seq"], r["invite"],
                                             {"seq": i["since"], "by": i["by"]})

    def do_rotate(self, r):
        old, new = self.author, r["to"]
        self.check_new_key(new)
        need(new not in self.members and new not in self.admins, "rotates to somebody's key")
        need(not self.recovery or all(k["key"] != new for k in self.recovery["recovery"]["keys"]),
             "rotates to a recovery key")
        need(signed(new, b"flotilla rotate 1\0", binary(self.fleet, old, new), r["signature"]),
             "lacks the new key's word")
        need(old in self.members or old in self.admins, f"is by {old}, who has no rights here")
        holders = self.members if old in self.members else self.admins
        holders[new] = holders.pop(old)
        renew = lambda key: new if key == old else key
        for a in self.admins.values():
            a["given_by"] = renew(a["given_by"])
            for c in a["capabilities"]:
                c["through"] = list(map(renew, c["through"]))
        for i in self.invites.values():
            i["by"], i["replaces"] = renew(i["by"]), renew(i["replaces"])
        for m in self.members.values():
            for holder, key in ((m["voucher"], "by"), (m["changed"], "by"), (m["place"], "coordinator")):
                if holder:
                    holder[key] = renew(holder[key])
        if self.recovery:
            self.recovery["by"] = renew(self.recovery["by"])
        if holders is self.members:
            self.s["orderer"] = renew(self.orderer)
        self.rotated[old], self.revoked[old] = new, self.entry["seq"]

    def isolate(self, key, reason):
        check_note(reason)
        need(self.is_role(key, "agent"), "names a key that is no agent's")
        m = self.members[key]
        self.allowed(self.may_enroll(m["name"], m["labels"]), f"quarantine or release `{m['name']}`")
        need(reason is not None or m["quarantine"], f"releases `{m['name']}`, which is not in quarantine")
        m["quarantine"] = None if reason is None else {"act": self.act(), "reason": reason}
        m["changed"] = self.act()

    def do_quarantine(self, q):
        self.isolate(q["key"], q["reason"])

    def do_release(self, r):
        self.isolate(r["key"], None)

    def do_appoint(self, a):
        self.allowed(self.everywhere("grant"), "appoint coordinators")
        need(self.is_role(a["coordinator"], "coordinator"), "appoints what is no coordinator")
        self.s["orderer"] = a["coordinator"]

    def do_place(self, p):
        self.allowed(self.author == p["coordinator"] or self.everywhere("grant"), "say where a coordinator is")
        relay = p["relay"] or {"url": "", "ca": None}
        need(len(p["addrs"]) <= 16 and len(relay["url"].encode()) <= 1024
             and len(base64.b64decode(relay["ca"] or "")) <= 8192, "has too many addresses or too long a relay")
        need(self.is_role(p["coordinator"], "coordinator"), "places what is no coordinator")
        self.members[p["coordinator"]]["place"] = {k: v for k, v in p.items() if k != "relay" or v}

    def do_publish(self, p):
        check_policy(p["policy"])
        check_note(p["note"])
        need(len(p["payload"].encode()) <= 384 * 1024 and len(p["artifacts"]) <= 1024, "is too large a declaration")
        limits = None
        for cap in self.holding("publish"):
            agents = ((m["name"], m["labels"]) for m in self.members.values() if m["role"] == "agent")
            if limits is None and covers_kind(cap, p["kind"]) and (not within(cap) or all(
                    covers_node(cap, *node) for node in agents if means(p["on"], *node))):
                limits = within(cap)
        self.allowed(limits is not None, f"publish {p['kind']} on `{p['on']}`")
        if p["name"] in self.declarations:
            self.allowed(self.may_replace(self.declarations[p["name"]]), f"replace `{p['name']}`")
        else:
            need(len(self.declarations) < 10000, "is one declaration too many")
        for d in self.declarations.values():
            if d["subject"] == p["subject"] and d["kind"] != p["kind"] and d["name"] != p["name"]:
                self.allowed(any(covers_kind(c, d["kind"]) for c in self.holding("publish")), "take this subject")
        self.declarations[p["name"]] = {
            "name": p["name"], "generation": self.entry["seq"], "on": p["on"], "within": limits, "kind": p["kind"],
            "subject": p["subject"], "policy": p["policy"], "payload": p["payload"], "artifacts": p["artifacts"],
            "author": self.author, "at": self.entry["at"], "note": p["note"], "not_after": self.entry["not_after"]}

    def may_replace(self, d):
        return any(covers_kind(c, d["kind"]) and covers_selection(c, [d["on"], *d["within"]])
                   for c in self.holding("publish"))

    def do_withdraw(self, w):
        need(w["name"] in self.declarations, "withdraws what is not declared")
        self.allowed(self.may_replace(self.declarations[w["name"]]), f"withdraw `{w['name']}`")
        del self.declarations[w["name"]]

    def do_checkpoint(self, c):
        self.allowed(self.is_role(self.author, "coordinator") or self.holding("grant"), "write a checkpoint")
        need(c["state"] == self.digest(), "states another digest than that of the state here")


class Undo:
    """Puts the state back if what follows is refused half-way."""
    def __init__(self, fleet):
        self.fleet, self.before = fleet, copy.deepcopy(fleet.s)

    def __enter__(self):
        pass

    def __exit__(self, kind, *_):
        if kind:
            self.fleet.s = self.before


def write(value):
    """A state as the reference writes it, which is what checkpoints are digests of."""
    if isinstance(value, Raw):
        return value
    if isinstance(value, dict):
        pairs = sorted(value.items()) if isinstance(value, Map) else value.items()
        return "{" + ",".join(f"{json.dumps(k)}:{write(v)}" for k, v in pairs) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(write, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
