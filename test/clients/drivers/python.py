"""memcached's Python clients as an application's cache: python.py HOST PORT PREFIX NAME pymemcache|pylibmc|pylibmc-binary

It keeps in mind what it wrote, and compares every answer with that. Runs until stdin ends, then prints what it counted
as JSON.
"""
import json
import os
import random
import sys
import threading
import time

host, port, prefix, name, kind = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5]
counted = {"client": kind, "operations": 0, "failures": 0, "first": None, "incremented": 0, "guarded": 0, "loggedIn": 0}
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
round_number = 0


def wrong(what):
    counted["failures"] += 1
    if counted["first"] is None:
        counted["first"] = f"round {round_number}: {what}"


def told(value):
    if isinstance(value, (bytes, bytearray)):
        return f"{len(value)} bytes"
    return repr(value) if isinstance(value, (bool, int, type(None))) else type(value).__name__


def same(what, got, expected):
    counted["operations"] += 1
    if got != expected:
        wrong(f"{what}: {told(got)} instead of {told(expected)}")


class Pymemcache:
    """Its writes ask for no answer unless told otherwise, and travel with the next command."""

    def __init__(self):
        from pymemcache.client.base import Client

        self.client = Client((host, port), connect_timeout=20, timeout=20, no_delay=True)

    def quiet(self):
        return {"noreply": random.random() < 0.5}

    def answer(self, got, expected, options):
        return expected if options["noreply"] else got

    def set(self, key, value):
        options = self.quiet()
        return self.client.set(key, value, expire=3600, **options)

    def add(self, key, value, expected):
        options = self.quiet()
        return self.answer(self.client.add(key, value, expire=3600, **options), expected, options)

    def replace(self, key, value, expected):
        options = self.quiet()
        return self.answer(self.client.replace(key, value, expire=3600, **options), expected, options)

    def append(self, key, value, expected):
        options = self.quiet()
        return self.answer(self.client.append(key, value, **options), expected, options)

    def prepend(self, key, value, expected):
        options = self.quiet()
        return self.answer(self.client.prepend(key, value, **options), expected, options)

    def delete(self, key, expected):
        options = self.quiet()
        return self.answer(self.client.delete(key, **options), expected, options)

    def touch(self, key, expected):
        options = self.quiet()
        return self.answer(self.client.touch(key, expire=7200, **options), expected, options)

    def get(self, key):
        return self.client.get(key)

    def get_many(self, keys):
        return self.client.get_many(keys)

    def set_many(self, values):
        return self.client.set_many(values, expire=3600) == []

    def gets(self, key):
        return self.client.gets(key)

    def cas(self, key, value, token):
        return self.client.cas(key, value, token, expire=3600)

    def incr(self, key, by):
        return self.client.incr(key, by)

    def decr(self, key, by):
        return self.client.decr(key, by)

    def lock(self, key):
        return self.client.add(key, name.encode(), expire=60, noreply=False)

    def unlock(self, key):
        return self.client.delete(key, noreply=False)


class Pylibmc:
    def __init__(self, binary):
        import pylibmc

        self.pylibmc = pylibmc
        behaviors = {"cas": True, "tcp_nodelay": True, "receive_timeout": 20_000_000, "connect_timeout": 20_000}
        self.client = pylibmc.Client([f"{host}:{port}"], binary=binary, behaviors=behaviors)

    def refusable(self, call, *args, **options):
        """With the binary protocol some refusals are exceptions."""
        try:
            return call(*args, **options)
        except self.pylibmc.Error as error:
            if type(error).__name__ in ("NotFound", "NotStored", "DataExists", "Exists"):
                return False
            raise

    def set(self, key, value):
        return self.client.set(key, value, time=3600)

    def add(self, key, value, expected):
        return self.refusable(self.client.add, key, value, time=3600)

    def replace(self, key, value, expected):
        return self.refusable(self.client.replace, key, value, time=3600)

    def append(self, key, value, expected):
        return self.refusable(self.client.append, key, value)

    def prepend(self, key, value, expected):
        return self.refusable(self.client.prepend, key, value)

    def delete(self, key, expected):
        return self.refusable(self.client.delete, key)

    def touch(self, key, expected):
        return self.refusable(self.client.touch, key, 7200)

    def get(self, key):
        return self.client.get(key)

    def get_many(self, keys):
        return self.client.get_multi(keys)

    def set_many(self, values):
        return self.client.set_multi(values, time=3600) == []

    def gets(self, key):
        return self.client.gets(key)

    def cas(self, key, value, token):
        return self.refusable(self.client.cas, key, value, token, time=3600)

    def incr(self, key, by):
        return self.client.incr(key, by)

    def decr(self, key, by):
        return self.client.decr(key, by)

    def lock(self, key):
        return self.refusable(self.client.add, key, name.encode(), time=60)

    def unlock(self, key):
        return self.client.delete(key)


cache = Pymemcache() if kind == "pymemcache" else Pylibmc(kind == "pylibmc-binary")
lock, counter, guarded = (f"{prefix}shared.{what}" for what in ("lock", "counter", "guarded"))
for key in (counter, guarded):
    cache.add(key, b"0", None)
values = {}
number = None
# Of the CAS numbers so many may be refused, because the authority moved.
MOVES = 3
moved = 0


def fresh():
    """Any bytes, none among them, and a line end to trip over."""
    return os.urandom(random.choice((0, 1, 20, 500, 5000))) + random.choice((b"", b"\r\nEND\r\n"))


def play():
    global number, moved
    key = f"{prefix}{name}-{random.randrange(8)}"
    known = key in values
    verb = random.randrange(16)
    if verb <= 1:
        values[key] = fresh()
        same("set", cache.set(key, values[key]), True)
    elif verb <= 3:
        same("get", cache.get(key), values.get(key))
    elif verb == 4:
        value = fresh()
        same("add", bool(cache.add(key, value, not known)), not known)
        values.setdefault(key, value)
    elif verb == 5:
        value = fresh()
        same("replace", bool(cache.replace(key, value, known)), known)
        if known:
            values[key] = value
    elif verb == 6 and len(values.get(key, b"")) < 20_000:
        same("append", bool(cache.append(key, b"tail", known)), known)
        if known:
            values[key] += b"tail"
    elif verb == 7 and len(values.get(key, b"")) < 20_000:
        same("prepend", bool(cache.prepend(key, b"head", known)), known)
        if known:
            values[key] = b"head" + values[key]
    elif verb == 8:
        same("delete", bool(cache.delete(key, known)), known)
        values.pop(key, None)
    elif verb == 9:
        same("touch", bool(cache.touch(key, known)), known)
    elif verb == 10:
        same("get_many", cache.get_many([f"{prefix}{name}-{n}" for n in range(8)]), values)
    elif verb == 11:
        value, token = cache.gets(key)
        same("gets", value, values.get(key))
        if known:
            changed = fresh()
            done = cache.cas(key, changed, token)
            if done is not True and moved < MOVES:
                # The authority moved between the two: the change is refused, and a new number has to be asked for.
                moved += 1
                value, token = cache.gets(key)
                same("gets after a refused cas", value, values[key])
                done = cache.cas(key, changed, token)
            same("cas", done, True)
            values[key] = changed
            if cache.cas(key, b"stale", token) is True:
                wrong("cas with a token that is used up was carried out")
    elif verb == 12:
        if number is None:
            number = 100
            cache.set(f"{prefix}{name}-number", b"100")
        number += 7
        same("incr", cache.incr(f"{prefix}{name}-number", 7), number)
        number -= 3
        same("decr", cache.decr(f"{prefix}{name}-number", 3), number)
        if cache.incr(counter, 1) is None:
            wrong("a shared counter is gone")
        else:
            counted["incremented"] += 1
    elif verb == 13:
        more = {f"{prefix}{name}-{n}": fresh() for n in range(4)}
        same("set_many", cache.set_many(more), True)
        values.update(more)
    elif verb == 14:
        aside = str(round_number).encode()
        cache.set(f"aside-{name}", aside)
        same("get aside", cache.get(f"aside-{name}"), aside)
    elif cache.lock(lock):
        before = int(cache.get(guarded))
        time.sleep(random.random() / 1000)
        cache.set(guarded, str(before + 1).encode())
        counted["guarded"] += 1
        same("unlock", bool(cache.unlock(lock)), True)


going = False
while not ended.is_set():
    round_number += 1
    if counted["operations"] >= 20 and not going:
        going = True
        print("going", flush=True)
    time.sleep(0.005)
    try:
        play()
    except Exception as error:  # What a client raises is a difference like any other.
        wrong(f"{type(error).__name__}: {str(error)[:80]}")
        time.sleep(0.05)
counted["loggedIn"] = len(values)
print(json.dumps(counted))
