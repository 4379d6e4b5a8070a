import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import fastifyCookie from "@fastify/cookie";
import fastifySession from "@fastify/session";
import fastify, { type FastifyInstance } from "fastify";
import { afterEach, expect, test } from "vitest";
import { expressStore } from "../../src/doors/express.js";
import { FerryError } from "../../src/errors.js";
import { MemorySessions } from "../support/memory-sessions.js";

declare module "fastify" {
  interface Session {
    visits?: number;
  }
}

let app: FastifyInstance | undefined;
afterEach(() => app?.close());

async function fastifySite(ferry: MemorySessions, options: { rolling?: boolean; saveUninitialized?: boolean } = {}) {
  const site = fastify();
  app = site;
  await site.register(fastifyCookie);
  await site.register(fastifySession, {
    secret: "a secret of at least thirty-two characters",
    store: expressStore(ferry),
    cookie: { secure: false, maxAge: 60_000 },
    ...options,
  });
  site.get("/", async () => "plain");
  site.get("/count", async (request) => {
    request.session.visits = (request.session.visits ?? 0) + 1;
    return String(request.session.visits);
  });
  site.get("/regenerate", async (request) => {
    await request.session.regenerate(["visits"]);
    return "new";
  });
  site.get("/destroy", async (request) => {
    await request.session.destroy();
    return "destroyed";
  });
  let cookie: string | undefined;
  return async (path: string) => {
    ferry.calls.length = 0;
    const answer = await site.inject({ url: path, headers: cookie === undefined ? {} : { cookie } });
    const sent = answer.headers["set-cookie"];
    if (sent !== undefined) cookie = String(sent).split(";")[0];
    return { status: answer.statusCode, body: answer.body, calls: [...ferry.calls] };
  };
}

test("@fastify/session works on the same store", async () => {
  const ferry = new MemorySessions();
  const get = await fastifySite(ferry);
  expect(await get("/count")).toEqual({ status: 200, body: "1", calls: ["set"] });
  expect(await get("/")).toEqual({ status: 200, body: "plain", calls: ["get", "set"] });
  expect(await get("/count")).toEqual({ status: 200, body: "2", calls: ["get", "set"] });
  const [stored] = ferry.records.values();
  const data = JSON.parse(stored!.value.toString());
  expect(data).toMatchObject({ visits: 2, cookie: { originalMaxAge: 60_000 } });
  expect(stored!.expiresAt).toBe(Math.ceil(Date.parse(data.cookie.expires) / 1000) * 1000);
  expect((await get("/regenerate")).calls.slice(0, 3)).toEqual(["get", "destroy", "set"]);
  expect((await get("/count")).body).toBe("3");
  expect(ferry.records.size).toBe(1);
  expect((await get("/destroy")).status).toBe(200);
  expect(ferry.records.size).toBe(0);
  expect((await get("/count")).body, "the old cookie is worth nothing").toBe("1");
});

test("@fastify/session hears errors, and takes ENOENT for absent", async () => {
  const ferry = new MemorySessions();
  const get = await fastifySite(ferry, { rolling: false, saveUninitialized: false });
  await get("/count");
  ferry.failNext("get", new FerryError("REDIS_UNREACHABLE", "away"));
  expect((await get("/count")).status).toBe(500);
  ferry.failNext("set", new FerryError("DEADLINE", "too late"));
  expect((await get("/count")).status).toBe(500);
  // fastify saved the session after all, with the error page: 2 was not answered, and yet it counts.
  expect((await get("/count")).body).toBe("3");
  ferry.failNext("get", Object.assign(new Error("none"), { code: "ENOENT" }));
  expect((await get("/count")).body).toBe("1");
});

const built = fileURLToPath(new URL("../../dist/doors/express.js", import.meta.url));

test("the built door loads by require and by import, and pulls in neither drivers nor express-session", async () => {
  expect(existsSync(built), "run `npm run build` first").toBe(true);
  const run = promisify(execFile);
  const script = `
    const { expressStore } = require(${JSON.stringify(built)});
    const light = Object.keys(require.cache).every((path) => !/node_modules/.test(path));
    const session = require("express-session");
    const sessions = new Map();
    const ferry = {
      get: async (sid) => sessions.get(sid) ?? null,
      set: async (sid, value) => void sessions.set(sid, value),
      touch: async () => true,
      destroy: async (sid) => void sessions.delete(sid),
      async *list() { yield [...sessions.keys()]; },
    };
    const store = expressStore(ferry);
    session({ store, secret: "x", resave: false, saveUninitialized: false });
    store.set("a", { cookie: { originalMaxAge: null } }, () =>
      store.load("a", (error, loaded) => console.log(JSON.stringify({ light, error, id: loaded.id, is: loaded instanceof session.Session }))));
  `;
  const { stdout } = await run(process.execPath, ["--no-warnings", "-e", script]);
  expect(JSON.parse(stdout)).toEqual({ light: true, id: "a", is: true });
  const imported = await run(process.execPath, [
    "--input-type=module",
    "-e",
    `const door = await import(${JSON.stringify(built)}); console.log(typeof door.expressStore);`,
  ]);
  expect(imported.stdout.trim()).toBe("function");
});
