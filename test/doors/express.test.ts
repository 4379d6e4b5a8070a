import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import express from "express";
import session from "express-session";
import { afterEach, expect, test, vi } from "vitest";
import { type ExpressStoreOptions, expressStore } from "../../src/doors/express.js";
import { FerryError } from "../../src/errors.js";
import { MemorySessions } from "../support/memory-sessions.js";

declare module "express-session" {
  interface SessionData {
    views?: number;
    big?: unknown;
  }
}

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close().closeAllConnections();
});

interface Answer {
  readonly status: number;
  readonly body: string;
  /** The cookie to send from now on. */
  readonly cookie: string;
  readonly calls: string[];
}

/** An application over the store, and a browser of one tab. */
async function site(
  options: Partial<session.SessionOptions> = {},
  store: ExpressStoreOptions = {},
  ferry = new MemorySessions(),
) {
  const app = express();
  const sessionStore: session.Store = expressStore(ferry, store);
  app.use(session({ store: sessionStore, secret: "only a test", resave: false, saveUninitialized: false, ...options }));
  app.get("/", (_req, res) => void res.send("plain"));
  app.get("/count", (req, res) => {
    req.session.views = (req.session.views ?? 0) + 1;
    res.send(String(req.session.views));
  });
  app.get("/regenerate", (req, res, next) => {
    req.session.regenerate((error) => {
      if (error) return next(error);
      req.session.views = 100;
      res.send("new");
    });
  });
  app.get("/null", (req, res) => {
    // biome-ignore lint/suspicious/noExplicitAny: unsetting the session is express-session's own way to destroy it
    (req as any).session = null;
    res.send("unset");
  });
  app.get("/destroy", (req, res, next) => {
    req.session.destroy((error) => (error ? next(error) : res.send("destroyed")));
  });
  app.get("/reload", (req, res, next) => {
    req.session.views = -1;
    req.session.reload((error) => (error ? next(error) : res.send(String(req.session.views))));
  });
  app.get("/short", (req, res) => {
    req.session.cookie.maxAge = -1;
    res.send("short");
  });
  app.get("/circular", (req, res, next) => {
    const circle: { self?: unknown } = {};
    circle.self = circle;
    sessionStore.set("any", { cookie: req.session.cookie, big: circle }, next);
    res.on("error", () => {});
  });
  const error: express.ErrorRequestHandler = (failure, _req, res, _next) => {
    if (!res.headersSent) res.status(500).send(String(failure.code ?? failure.message));
  };
  app.use(error);
  const server = createServer(app).listen(0, "127.0.0.1");
  servers.push(server);
  await once(server, "listening");
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  let cookie = "";
  const get = async (path: string, sent = cookie): Promise<Answer> => {
    ferry.calls.length = 0;
    const response = await fetch(base + path, { headers: sent === "" ? {} : { cookie: sent } });
    cookie = response.headers.getSetCookie()[0]?.split(";")[0] ?? cookie;
    return { status: response.status, body: await response.text(), cookie, calls: [...ferry.calls] };
  };
  return { ferry, store: expressStore(ferry, store), get };
}

const sidOf = (cookie: string) => decodeURIComponent(cookie.split("=")[1]!).slice(2).split(".")[0]!;

test("the calls are those that express-session makes of every store", async () => {
  const { get } = await site({ unset: "destroy", cookie: { maxAge: 60_000 } });
  expect((await get("/")).calls).toEqual([]);
  expect((await get("/count")).calls).toEqual(["set"]);
  expect(await get("/")).toMatchObject({ calls: ["get", "touch"], body: "plain" });
  expect(await get("/count")).toMatchObject({ calls: ["get", "set"], body: "2" });
  expect((await get("/regenerate")).calls).toEqual(["get", "destroy", "set"]);
  expect(await get("/count")).toMatchObject({ calls: ["get", "set"], body: "101" });
  expect(await get("/reload")).toMatchObject({ calls: ["get", "get", "touch"], body: "101" });
  expect((await get("/null")).calls).toEqual(["get", "destroy"]);
  expect(await get("/count")).toMatchObject({ calls: ["get", "set"], body: "1" });
  // req.session is gone after the application's own destroy, which `unset: "destroy"` takes for one more.
  expect((await get("/destroy")).calls).toEqual(["get", "destroy", "destroy"]);
});

test("resave writes at every request, rolling changes the cookie alone, saveUninitialized stores visitors", async () => {
  const resave = await site({ resave: true });
  await resave.get("/count");
  expect((await resave.get("/")).calls).toEqual(["get", "set"]);
  const rolling = await site({ rolling: true, cookie: { maxAge: 60_000 } });
  const first = await rolling.get("/count");
  const second = await rolling.get("/");
  expect(second.calls).toEqual(["get", "touch"]);
  expect(second.cookie).toBe(first.cookie);
  const visitors = await site({ saveUninitialized: true });
  expect((await visitors.get("/")).calls).toEqual(["set"]);
});

test("the value is the session's JSON and the expiry the cookie's, in whole seconds rounded up", async () => {
  const { ferry, get } = await site({ cookie: { maxAge: 60_000 } }, { flags: 2 });
  const before = Date.now();
  const { cookie } = await get("/count");
  const stored = ferry.records.get(sidOf(cookie))!;
  const data = JSON.parse(stored.value.toString());
  expect(data).toMatchObject({ cookie: { originalMaxAge: 60_000, httpOnly: true, path: "/" }, views: 1 });
  expect(stored.flags).toBe(2);
  expect(stored.expiresAt).toBe(Math.ceil(Date.parse(data.cookie.expires) / 1000) * 1000);
  expect(stored.expiresAt).toBeGreaterThanOrEqual(before + 60_000);
  expect(stored.expiresAt).toBeLessThan(Date.now() + 61_000);

  ferry.records.set(sidOf(cookie), { ...stored, expiresAt: stored.expiresAt - 30_000 });
  await get("/");
  const touched = ferry.records.get(sidOf(cookie))!;
  expect(touched.expiresAt).toBeGreaterThanOrEqual(stored.expiresAt);
  expect(touched.value, "a touch leaves the value alone").toEqual(stored.value);
});

test("without an expiry of the cookie the ttl, the preset's lifetime or a day counts", async () => {
  for (const [options, defaults, seconds] of [
    [{ ttl: 600 }, { flags: 0, lifetime: 5_000, touchEvery: 0 }, 600],
    [{}, { flags: 2, lifetime: 1_800_000, touchEvery: 0 }, 1800],
    [{}, undefined, 86_400],
  ] as const) {
    const { ferry, get } = await site({}, options, new MemorySessions(defaults));
    const { cookie } = await get("/count");
    const stored = ferry.records.get(sidOf(cookie))!;
    expect(Math.abs(stored.expiresAt - Date.now() - seconds * 1000)).toBeLessThan(2000);
    expect(stored.flags).toBe(defaults?.flags ?? 0);
  }
  expect(() => expressStore(new MemorySessions(), { ttl: 0 })).toThrow(FerryError);
  expect(() => expressStore(new MemorySessions(), { touchEvery: Number.NaN })).toThrow(FerryError);
});

test("a session whose cookie has expired is destroyed by set and by touch", async () => {
  const { ferry, get, store } = await site({ cookie: { maxAge: 60_000 } });
  const { cookie } = await get("/count");
  const past = { cookie: { originalMaxAge: null, expires: new Date(Date.now() - 5_000) } } as session.SessionData;
  await new Promise((resolve) => store.set(sidOf(cookie), past, resolve));
  expect(ferry.records.size).toBe(0);
  await get("/count");
  expect(ferry.records.size).toBe(1);
  ferry.calls.length = 0;
  const { cookie: next } = await get("/");
  await new Promise<void>((resolve) => store.touch(sidOf(next), past, () => resolve()));
  expect(ferry.records.size).toBe(0);
  expect((await get("/")).calls).toEqual(["get"]);
});

test("touchEvery skips a touch that would move the expiry by less, and no shortening", async () => {
  const { ferry, get } = await site({ cookie: { maxAge: 60_000 } }, { touchEvery: 20_000 });
  const sid = sidOf((await get("/count")).cookie);
  expect((await get("/")).calls).toEqual(["get"]);
  const stored = ferry.records.get(sid)!;
  ferry.records.set(sid, { ...stored, expiresAt: stored.expiresAt - 25_000 });
  expect((await get("/")).calls).toEqual(["get", "touch"]);
  expect((await get("/")).calls).toEqual(["get"]);
  ferry.records.set(sid, { ...stored, expiresAt: stored.expiresAt + 600_000 });
  expect((await get("/")).calls, "the cookie's lifetime was shortened meanwhile").toEqual(["get", "touch"]);
  expect(ferry.records.get(sid)!.expiresAt).toBeLessThan(stored.expiresAt + 60_000);
});

test("errors reach the application as they are, and ENOENT means absent", async () => {
  const { ferry, get } = await site({ cookie: { maxAge: 60_000 } });
  await get("/count");
  const away = new FerryError("REDIS_UNREACHABLE", "Redis does not answer");
  ferry.failNext("get", away);
  expect(await get("/count")).toMatchObject({ status: 500, body: "REDIS_UNREACHABLE", calls: ["get"] });
  ferry.failNext("get", Object.assign(new Error("no such session"), { code: "ENOENT" }));
  expect(await get("/count")).toMatchObject({ status: 200, body: "1" });
  expect(await get("/count")).toMatchObject({ status: 200, body: "2" });
  for (const [verb, path] of [
    ["touch", "/"],
    ["destroy", "/destroy"],
    ["destroy", "/regenerate"],
  ] as const) {
    ferry.failNext(verb, away);
    const { calls } = await get(path);
    expect(calls).toContain(verb);
  }
  ferry.failNext("destroy", away);
  expect(await get("/regenerate")).toMatchObject({ status: 500, body: "REDIS_UNREACHABLE" });
  expect((await get("/circular")).body).toContain("circular");
});

test("with unset: destroy express-session itself destroys a session that it could not read", async () => {
  // Not ours to prevent: a store cannot tell this destroy from a logout. The README warns of the option.
  const { ferry, get } = await site({ unset: "destroy", cookie: { maxAge: 60_000 } });
  await get("/count");
  ferry.failNext("get", new FerryError("REDIS_UNREACHABLE", "Redis does not answer"));
  expect(await get("/count")).toMatchObject({ status: 500, calls: ["get", "destroy"] });
});

test("a failed write holds no response back and is reported", async () => {
  const { ferry, get } = await site({ cookie: { maxAge: 60_000 } });
  ferry.failNext("set", new FerryError("DEADLINE", "too late"));
  // express-session has sent all but the last byte by then; it ends the response and hands the error on.
  const answer = await get("/count").catch((error: unknown) => error);
  expect(answer).toBeDefined();
  expect(ferry.records.size).toBe(0);
});

test("what is no JSON object is an error that does not quote the value", async () => {
  const { ferry, get } = await site({ cookie: { maxAge: 60_000 } });
  const sid = sidOf((await get("/count")).cookie);
  for (const text of ["top secret cart", '"top secret string"', "null", ""]) {
    const value = Buffer.from(text);
    ferry.records.set(sid, { value, flags: 0, expiresAt: Date.now() + 60_000 });
    const error = await new Promise<unknown>((resolve) => expressStore(ferry).get(sid, resolve));
    expect(error).toMatchObject({ code: "VALUE_INVALID" });
    expect(JSON.stringify(error) + String(error) + String((error as Error).cause)).not.toContain("secret");
    expect((await get("/")).body).toBe("VALUE_INVALID");
    expect(ferry.records.get(sid)!.value, "it was left as it is").toEqual(value);
  }
});

test("get gives a fresh object each time, and load a Session", async () => {
  const { store, get } = await site({ cookie: { maxAge: 60_000 } });
  const sid = sidOf((await get("/count")).cookie);
  const read = () => new Promise<object>((resolve) => store.get(sid, (_error, data) => resolve(data)));
  const [one, two] = await Promise.all([read(), read()]);
  expect(one).toEqual(two);
  expect(one).not.toBe(two);
  const loaded = await new Promise<session.Session>((resolve) => store.load(sid, (_error, data) => resolve(data)));
  expect(loaded.cookie.expires).toBeInstanceOf(Date);
  expect(loaded.id).toBe(sid);
  const absent = await new Promise((resolve) => store.load("nobody", (error, data) => resolve([error, data])));
  expect(absent).toEqual([undefined, undefined]);
});

test("every callback is called exactly once, also when it throws", async () => {
  const ferry = new MemorySessions();
  const store = expressStore(ferry);
  let calls = 0;
  const uncaught: unknown[] = [];
  const listeners = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException");
  process.on("uncaughtException", (error) => uncaught.push(error));
  try {
    store.get("absent", () => {
      calls++;
      throw new Error("the application's own fault");
    });
    ferry.failNext("destroy", new Error("away"));
    store.destroy("absent");
    await new Promise((resolve) => setTimeout(resolve, 30));
  } finally {
    process.removeAllListeners("uncaughtException");
    for (const listener of listeners) process.on("uncaughtException", listener);
  }
  expect(calls).toBe(1);
  expect(uncaught).toHaveLength(1);
});

test("parallel requests of one session, and of many, keep to their own", async () => {
  const { ferry, get } = await site({ cookie: { maxAge: 60_000 } });
  const cookies = await Promise.all(Array.from({ length: 40 }, async () => (await get("/count", "")).cookie));
  // `cookie` of the helper is shared, so the ids are read from the store instead.
  expect(new Set(cookies.map(sidOf)).size).toBeLessThanOrEqual(ferry.records.size);
  expect(ferry.records.size).toBe(40);
  const cookie = (await get("/count")).cookie;
  const pages = await Promise.all(Array.from({ length: 40 }, () => get("/", cookie)));
  expect(pages.every((page) => page.status === 200)).toBe(true);
  const logout = await Promise.all([get("/destroy", cookie), ...Array.from({ length: 20 }, () => get("/", cookie))]);
  expect(logout.every((page) => page.status === 200)).toBe(true);
  expect(ferry.records.has(sidOf(cookie)), "a page view in flight brings no logged-out session back").toBe(false);
});

test("all, ids, length and clear go through every live session", async () => {
  const ferry = new MemorySessions();
  const store = expressStore(ferry);
  const cookie = { originalMaxAge: null };
  for (let i = 0; i < 1234; i++) {
    const value = Buffer.from(JSON.stringify({ cookie, views: i }));
    ferry.records.set(`sid${i}`, { value, flags: 0, expiresAt: Date.now() + (i < 34 ? -1 : 60_000) });
  }
  const ask = <T>(method: "all" | "ids" | "length") =>
    new Promise<T>((resolve, reject) =>
      store[method]((error: unknown, result?: unknown) => (error ? reject(error) : resolve(result as T))),
    );
  expect(await ask("length")).toBe(1200);
  expect(await ask("ids")).toHaveLength(1200);
  const all = await ask<{ id: string; views: number }[]>("all");
  expect(all).toHaveLength(1200);
  expect(all[0]).toMatchObject({ id: `sid${all[0]!.views}` });
  ferry.failNext("list", new Error("away"));
  await expect(ask("ids")).rejects.toThrow("away");
  const listing = vi.spyOn(ferry, "list");
  await new Promise<void>((resolve, reject) => store.clear((error) => (error ? reject(error) : resolve())));
  expect(listing).toHaveBeenLastCalledWith(expect.objectContaining({ everywhere: true }));
  expect(await ask("length")).toBe(0);
});
