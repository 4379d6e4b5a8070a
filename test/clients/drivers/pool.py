"""An application on a pool: pool.py PREFIX NAME HOST:PORT HOST:PORT

pymemcache's HashClient spreads its keys over the servers by rendezvous hashing of the servers' own names, as the
application knows them, whatever addresses they have at the moment. It keeps in mind what it wrote, and compares every
answer with that. A line "forget" on stdin destroys the session `doomed`; at stdin's end it prints what it has in mind.
"""
import json
import random
import sys
import threading
import time

from pymemcache.client.hash import HashClient
from pymemcache.client.rendezvous import RendezvousHash

prefix, name = sys.argv[1], sys.argv[2]
places = [tuple(place.rsplit(":", 1)) for place in sys.argv[3:]]


class ByName:
    """Servers by the names cache-0, cache-1, ... in the order in which they are named."""

    def __init__(self):
        self.addresses = {}
        self.ring = RendezvousHash()

    def add_node(self, node):
        own = f"cache-{len(self.addresses)}"
        self.addresses[own] = node
        self.ring.add_node(own)

    def remove_node(self, node):
        raise RuntimeError("a server was taken for dead")

    def get_node(self, key):
        return self.addresses[self.ring.get_node(key)]


client = HashClient(
    [(host, int(port)) for host, port in places],
    hasher=ByName,
    connect_timeout=60,
    timeout=60,
    no_delay=True,
    retry_attempts=0,
    ignore_exc=False,
)
mind = {}
gone = set()
counted = {"operations": 0, "incremented": 0, "failures": 0, "first": None}
ended = threading.Event()
forget = threading.Event()


def listen():
    for line in sys.stdin:
        if line.strip() == "forget":
            forget.set()
    ended.set()


threading.Thread(target=listen, daemon=True).start()


def same(what, got, expected):
    counted["operations"] += 1
    if got != expected:
        counted["failures"] += 1
        counted["first"] = counted["first"] or f"{what}: {got!r:.60} instead of {expected!r:.60}"


def value():
    return b"%d %s" % (random.randrange(10**9), b"x" * random.randrange(300))


def store(key, noreply=False):
    mind[key] = value()
    gone.discard(key)
    got = client.set(key, mind[key], expire=86400, noreply=noreply)
    same("set", got, True)


special = {what: f"{prefix}{name}-{what}" for what in ("read", "written", "idle", "doomed")}
for key in special.values():
    store(key)
keys = [f"{prefix}{name}-{n}" for n in range(12)]
print("going", flush=True)

while not ended.is_set():
    key = random.choice(keys)
    had = key in mind
    act = random.randrange(10)
    if act < 3:
        same("get", client.get(key), mind.get(key))
    elif act == 3:
        found = client.get_many(keys)
        for each in keys:
            same(f"get_many of {len(found)}", found.get(each), mind.get(each))
    elif act == 4:
        store(key)
    elif act == 5:
        same("delete", client.delete(key, noreply=False), had)
        mind.pop(key, None)
        gone.add(key)
    elif act == 6:
        fresh = value()
        same("add", client.add(key, fresh, expire=86400, noreply=False), not had)
        if not had:
            mind[key] = fresh
            gone.discard(key)
    elif act == 7:
        same("touch", client.touch(key, 86400, noreply=False), had)
    elif act == 8:
        if client.incr(f"{prefix}shared", 1, noreply=False) is not None:
            counted["incremented"] += 1
    else:
        found, token = client.gets(key)
        same("gets", found, mind.get(key))
        if found is not None:
            fresh = value()
            # A change of authority between the two makes the number void: the change is refused then.
            done = client.cas(key, fresh, token, expire=86400, noreply=False)
            if done is True:
                mind[key] = fresh
            same("cas", done, True if done else False)
            same("get after cas", client.get(key), mind[key])
    same("the session that is read alone", client.get(special["read"]), mind[special["read"]])
    if random.randrange(5) == 0:
        store(special["written"])
    if forget.is_set() and special["doomed"] in mind:
        same("the end of the doomed", client.delete(special["doomed"], noreply=False), True)
        gone.add(special["doomed"])
        del mind[special["doomed"]]
    if special["doomed"] in gone:
        same("the doomed", client.get(special["doomed"]), None)
    time.sleep(0.01)

same("the session that nobody asked for", client.get(special["idle"]), mind[special["idle"]])
print(json.dumps({**counted, "mind": {key: each.decode() for key, each in mind.items()}, "gone": sorted(gone)}))
