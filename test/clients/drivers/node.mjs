// The npm clients as an application's cache: node node.mjs HOST PORT PREFIX NAME memcached|memjs. It keeps in mind what
// it wrote, and compares every answer with that. Runs until stdin ends, then prints what it counted as JSON.
import { randomBytes } from "node:crypto";
import { createRequire } from "node:module";
import { setTimeout as delay } from "node:timers/promises";
import { isDeepStrictEqual, promisify } from "node:util";

const require = createRequire(import.meta.url);
const [host, port, prefix, name, kind] = process.argv.slice(2);
const counted = { client: kind, operations: 0, failures: 0, first: null, incremented: 0, guarded: 0, loggedIn: 0 };
let round = 0;
let ended = false;
process.stdin.resume().on("end", () => {
  ended = true;
});

function wrong(what) {
  counted.failures++;
  counted.first ??= `round ${round}: ${what}`;
}

const told = (value) =>
  ["boolean", "number", "undefined"].includes(typeof value) ? `${value}` : `${JSON.stringify(value).length} bytes`;

function same(what, got, expected) {
  counted.operations++;
  if (!isDeepStrictEqual(got, expected)) wrong(`${what}: ${told(got)} instead of ${told(expected)}`);
}

const dice = (sides) => Math.floor(Math.random() * sides);

/** The npm client memcached: text; objects go as JSON, which the flags tell. */
function overMemcached() {
  const Memcached = require("memcached");
  const client = new Memcached(`${host}:${port}`, {
    timeout: 20_000,
    retries: 0,
    failures: 1_000,
    poolSize: 2,
    idle: 60_000,
  });
  const call = (verb) => promisify(client[verb].bind(client));
  const refusal = (error) => {
    if (/not stored|NOT_STORED|NOT_FOUND|EXISTS/.test(String(error?.message ?? error))) return false;
    throw error;
  };
  const yes =
    (verb) =>
    (...args) =>
      call(verb)(...args).then((answer) => answer === true, refusal);
  return {
    fresh: () =>
      [{ user: dice(1e9), cart: Array.from({ length: dice(30) }, () => dice(100)) }, "y".repeat(1 + dice(5000))][
        dice(2)
      ],
    get: async (key) => call("get")(key),
    many: async (keys) => call("getMulti")(keys),
    set: (key, value) => yes("set")(key, value, 3600),
    add: (key, value) => yes("add")(key, value, 3600),
    replace: (key, value) => yes("replace")(key, value, 3600),
    remove: (key) => yes("del")(key),
    touch: (key) => yes("touch")(key, 7200),
    append: (key, text) => yes("append")(key, text),
    prepend: (key, text) => yes("prepend")(key, text),
    gets: (key) => call("gets")(key),
    cas: (key, value, token) => yes("cas")(key, value, token, 3600),
    incr: (key, by) => call("incr")(key, by),
    decr: (key, by) => call("decr")(key, by),
    end: () => client.end(),
  };
}

/** memjs: binary; strings and buffers. */
function overMemjs() {
  const { Client } = require("memjs");
  const client = Client.create(`${host}:${port}`, {
    timeout: 20,
    conntimeout: 20,
    retries: 1,
    failoverTime: 1,
    logger: { log() {} },
  });
  const unlessRefused = (error) => {
    if (/not stored/i.test(String(error?.message ?? error))) return false;
    throw error;
  };
  const text = async (key) => {
    const { value } = await client.get(key);
    return value === null ? undefined : value.toString();
  };
  return {
    fresh: () => randomBytes(1 + dice(4000)).toString("base64"),
    get: text,
    set: (key, value) => client.set(key, value, { expires: 3600 }),
    add: (key, value) => client.add(key, value, { expires: 3600 }),
    replace: (key, value) => client.replace(key, value, { expires: 3600 }),
    remove: (key) => client.delete(key),
    touch: (key) => client.touch(key, 7200),
    append: (key, tail) => client.append(key, tail).catch(unlessRefused),
    // Its prepend sends an append.
    incr: async (key, by) => (await client.increment(key, by, { initial: 0, expires: 3600 })).value,
    decr: async (key, by) => (await client.decrement(key, by, { initial: 0, expires: 3600 })).value,
    end: () => client.close(),
  };
}

const cache = kind === "memjs" ? overMemjs() : overMemcached();
const [lock, counter, guarded] = ["lock", "counter", "guarded"].map((what) => `${prefix}shared.${what}`);
for (const key of [counter, guarded]) await cache.add(key, "0");
const values = new Map();
let number = null;
// Of the CAS numbers so many were refused.
let moved = 0;

async function play() {
  const key = `${prefix}${name}-${dice(8)}`;
  const known = values.has(key);
  const value = cache.fresh();
  switch (dice(15)) {
    case 0:
    case 1:
      same("set", await cache.set(key, value), true);
      values.set(key, value);
      break;
    case 2:
    case 3:
      same("get", await cache.get(key), values.get(key));
      break;
    case 4:
      same("add", await cache.add(key, value), !known);
      if (!known) values.set(key, value);
      break;
    case 5:
      same("replace", await cache.replace(key, value), known);
      if (known) values.set(key, value);
      break;
    case 6:
      same("delete", await cache.remove(key), known);
      values.delete(key);
      break;
    case 7:
      same("touch", await cache.touch(key), known);
      break;
    case 8:
    case 9: {
      const tail = `${prefix}${name}-text`;
      if (!values.has(tail)) {
        same("append to nothing", await cache.append(tail, "x"), false);
        same("set text", await cache.set(tail, "text"), true);
        values.set(tail, "text");
      }
      same("append", await cache.append(tail, "tail"), true);
      values.set(tail, `${values.get(tail)}tail`);
      if (cache.prepend !== undefined) {
        same("prepend", await cache.prepend(tail, "head"), true);
        values.set(tail, `head${values.get(tail)}`);
      }
      same("get text", await cache.get(tail), values.get(tail));
      if (values.get(tail).length > 2000) {
        same("delete text", await cache.remove(tail), true);
        values.delete(tail);
      }
      break;
    }
    case 10: {
      if (cache.many === undefined) break;
      const keys = Array.from({ length: 8 }, (_, n) => `${prefix}${name}-${n}`);
      const expected = Object.fromEntries(keys.flatMap((each) => (values.has(each) ? [[each, values.get(each)]] : [])));
      same("getMulti", { ...(await cache.many(keys)) }, expected);
      break;
    }
    case 11: {
      if (cache.gets === undefined) break;
      let seen = await cache.gets(key);
      same("gets", seen?.[key], values.get(key));
      if (!known || seen === undefined) break;
      let done = await cache.cas(key, value, seen.cas);
      if (!done && moved < 3) {
        // The authority moved between the two: the change is refused, and a new number has to be asked for.
        moved++;
        seen = await cache.gets(key);
        same("gets after a refused cas", seen?.[key], values.get(key));
        done = await cache.cas(key, value, seen.cas);
      }
      same("cas", done, true);
      same("stale cas", await cache.cas(key, "stale", seen.cas), false);
      values.set(key, value);
      break;
    }
    case 12:
      if (number === null) {
        number = 100;
        await cache.set(`${prefix}${name}-number`, "100");
      }
      number += 7;
      same("incr", await cache.incr(`${prefix}${name}-number`, 7), number);
      number -= 3;
      same("decr", await cache.decr(`${prefix}${name}-number`, 3), number);
      if (typeof (await cache.incr(counter, 1)) !== "number") wrong("a shared counter is gone");
      else counted.incremented++;
      break;
    case 13:
      same("set aside", await cache.set(`aside-${name}`, `${round}`), true);
      same("get aside", await cache.get(`aside-${name}`), `${round}`);
      break;
    default:
      if (!(await cache.add(lock, name))) break;
      {
        const before = Number(await cache.get(guarded));
        await delay(Math.random());
        same("set guarded", await cache.set(guarded, `${before + 1}`), true);
        counted.guarded++;
        same("unlock", await cache.remove(lock), true);
      }
  }
}

let going = false;
while (!ended) {
  round++;
  if (counted.operations >= 20 && !going) {
    going = true;
    console.log("going");
  }
  await delay(5);
  try {
    await play();
  } catch (error) {
    wrong(String(error?.message ?? error).slice(0, 80));
    await delay(50);
  }
}
counted.loggedIn = values.size;
cache.end();
console.log(JSON.stringify(counted));
process.exit(0);
