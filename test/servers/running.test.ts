import { createServer } from "node:net";
import { afterAll, describe, expect, test } from "vitest";
import { ask } from "../../src/servers/ask.js";
import { type RunningServer, startMemcached, startPostgres, startRedis } from "../../src/servers/index.js";
import { isRunning } from "../support/processes.js";

/** A query that each server answers at once, and what its answer begins with. */
const kinds = [
  { name: "redis", start: startRedis, query: "PING\r\n", answer: "+PONG", scheme: "redis:" },
  { name: "memcached", start: startMemcached, query: "version\r\n", answer: "VERSION", scheme: "memcached:" },
  // SSLRequest, which PostgreSQL answers by one letter before it knows who asks.
  {
    name: "postgres",
    start: startPostgres,
    query: Buffer.from("0000000804d2162f", "hex"),
    answer: "N",
    scheme: "postgres:",
  },
] as const;

const running: RunningServer[] = [];
afterAll(() => Promise.all(running.map((server) => server.stop())));

for (const { name, start, query, answer, scheme } of kinds) {
  const say = async (server: RunningServer, timeoutMs?: number) =>
    (await ask(server, query, (bytes) => bytes.length >= answer.length, timeoutMs))?.toString("latin1") ?? null;
  const started = async (options?: { port: number }) => {
    const server = await start(options);
    running.push(server);
    return server;
  };

  describe(name, () => {
    test("serves as soon as it is started, on a port of its own", async () => {
      const [one, other] = await Promise.all([started(), started()]);
      expect(one.port).not.toBe(other.port);
      expect(new URL(one.url)).toMatchObject({ protocol: scheme, port: String(one.port), hostname: one.host });
      expect(await say(one)).toMatch(answer);
      expect(await say(other)).toMatch(answer);
      await other.stop();
      expect(isRunning(other.pid)).toBe(false);
      expect(await say(other)).toBeNull();
      await other.stop();
    });

    test("keeps its port through stop, kill and restart", async () => {
      const server = await started();
      const first = server.pid;
      await server.stop();
      await server.restart();
      expect(server.pid).not.toBe(first);
      expect(await say(server)).toMatch(answer);

      const second = server.pid;
      await server.kill();
      expect(isRunning(second)).toBe(false);
      expect(await say(server)).toBeNull();
      await server.restart();
      expect(await say(server)).toMatch(answer);

      await server.restart();
      expect(await say(server)).toMatch(answer);
    });

    test("answers nobody while it is paused, goes on afterwards, and stops though paused", async () => {
      const server = await started();
      server.pause();
      expect(await say(server, 200)).toBeNull();
      server.resume();
      expect(await say(server)).toMatch(answer);
      server.pause();
      await server.stop();
      expect(isRunning(server.pid)).toBe(false);
    });

    test("says so when the port it was told to use is taken", async () => {
      const squatter = createServer();
      await new Promise<void>((resolve) => squatter.listen(0, "127.0.0.1", resolve));
      const { port } = squatter.address() as { port: number };
      try {
        await expect(start({ port })).rejects.toMatchObject({
          name: "FerryError",
          message: expect.stringMatching(new RegExp(`port ${port} is in use`)),
        });
      } finally {
        squatter.close();
      }
    });
  });
}

test("Redis keeps what it was told to persist when it is killed and started again", async () => {
  const server = await startRedis({ args: ["--appendonly", "yes", "--appendfsync", "always"] });
  running.push(server);
  const say = async (line: string) =>
    (await ask(server, `${line}\r\n`, (bytes) => bytes.toString("latin1").endsWith("\r\n")))?.toString("latin1");
  expect(await say("SET kept here")).toBe("+OK\r\n");
  await server.kill();
  await server.restart();
  expect(await say("GET kept")).toContain("here");
});

test("Redis takes arguments over ours, evicts nothing by default and may ask for a password", async () => {
  const plain = await startRedis();
  const locked = await startRedis({ args: ["--requirepass", "secret", "--maxmemory-policy", "allkeys-lru"] });
  running.push(plain, locked);
  const say = (server: RunningServer, line: string) =>
    ask(server, `${line}\r\n`, (bytes) => bytes.includes("\r\n")).then((answer) => String(answer));
  expect(await say(plain, "CONFIG GET maxmemory-policy")).toContain("noeviction");
  expect(await say(locked, "PING")).toContain("NOAUTH");
});

test("an argument that the server does not know ends the start at once, with the server's own words", async () => {
  await expect(startRedis({ args: ["--no-such-setting", "1"] })).rejects.toThrow(
    /could not be started.*no-such-setting/s,
  );
  await expect(startMemcached({ args: ["-o", "no_such_setting"] })).rejects.toThrow(/could not be started/);
  await expect(startPostgres({ settings: { no_such_setting: "1" } })).rejects.toThrow(/no_such_setting/);
});
