import { setTimeout as delay } from "node:timers/promises";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { IdSource, newNodeId } from "../../src/core/ids.js";
import { connectionName, type Fence } from "../../src/ports/fence.js";
import { type CallLimits, RedisLost, type RedisRecords, RedisRefused } from "../../src/ports/redis-records.js";
import type { RedisRecordsOptions } from "../../src/stores/redis/index.js";
import { later } from "../contract/redis-records.js";
import { FaultyLink } from "../support/faulty-link.js";
import { until } from "../support/processes.js";
import { Bench, duration, rejection } from "./redis-support.js";

const ids = new IdSource(newNodeId());
const GENERATION = "generation-1";
const BRIEF: CallLimits = { deadline: 60, hold: false };
/** For calls that fail long before. */
const AT_ONCE: CallLimits = { deadline: 2_000, hold: false };
const PATIENT: CallLimits = { deadline: 5_000, hold: true };

const bench = new Bench();
afterEach(() => bench.clear());

const unhandled: unknown[] = [];
const note = (error: unknown) => unhandled.push(error);
process.on("unhandledRejection", note);
afterAll(() => {
  process.off("unhandledRejection", note);
  expect(unhandled).toEqual([]);
});

const armed = async (url: string, options: Partial<RedisRecordsOptions> = {}): Promise<RedisRecords> => {
  const records = await bench.open(url, options);
  records.generation = GENERATION;
  await records.arm(GENERATION, "active");
  return records;
};
const open = (records: RedisRecords, limits?: CallLimits, sid = "one") =>
  records.open(sid, ids.next(), "L", later("x"), ids.next(), limits);

describe("a Redis that is away", () => {
  it("does not keep the records from being opened, and is found when it comes", async () => {
    const server = await bench.start();
    await server.stop();
    let records!: RedisRecords;
    expect(await duration(async () => (records = await bench.open(server.url)))).toBeLessThan(900);
    records.generation = GENERATION;
    expect(await rejection(open(records, BRIEF))).toMatchObject({ name: "RedisUnreachable", sent: false });
    const held = duration(async () => {
      expect(await rejection(open(records, { deadline: 150, hold: true }))).toMatchObject({ sent: false });
    });
    expect(await held).toBeGreaterThan(140);
    const waiting = records.arm(GENERATION, "active");
    await server.restart();
    await waiting;
    expect(await open(records, PATIENT)).toBe("L");
  });

  it.each([
    ["a read that had more to ask", {}],
    ["a write that was to wait for replicas", { wait: { open: 1, destroy: 1 } }],
  ])("is asked again once it has answered, though too late for %s", async (_, options) => {
    const server = await bench.start();
    const records = await armed(server.url, options);
    const client = bench.plain(server.url);
    const ask = () =>
      "wait" in options ? open(records, BRIEF) : records.read("one", ids.next(), BRIEF).then(({ from }) => from);
    const isSent = () =>
      ask().then(
        () => true,
        ({ sent }) => sent === true,
      );
    await until("there is a connection", isSent);
    const isLate = () =>
      ask().then(
        () => false,
        ({ sent }) => sent === true,
      );
    // A write takes a connection for itself, which may have to be made first.
    await until("one was asked, and did not answer in time", async () => {
      await client.call("CLIENT", "PAUSE", 300, "ALL");
      return isLate();
    });
    await delay(400);
    // Nobody replicates it, so that a write stays unknown; but it is sent.
    await until("it is asked again", isSent);
    if (!("wait" in options)) expect(await ask()).toBe("L");
  });

  it("never carries out what came too late, once its sender has connected anew", async () => {
    const server = await bench.start();
    const link = await FaultyLink.open(server);
    try {
      const records = await armed(link.via(server.url), { deadlines: { stall: 300, connect: 300 } });
      link.delay(2_000);
      const intent = ids.next();
      const lost = records.open("late", intent, "L", later("x"), ids.next(), BRIEF);
      expect(await rejection(lost)).toMatchObject({ sent: true });
      // The connection is given up; the open is still on its way when the next one is there.
      link.heal();
      await until("the next connection", async () => link.connections > 1);
      await records.ping(PATIENT);
      await records.close("late", intent, { kind: "withdraw" }, PATIENT);
      await delay(2_500);
      const [view] = await records.view(["late"]);
      expect(view!.intents).toEqual([]);
    } finally {
      await link.close();
    }
  });

  it("that knows no passwords repeats none", async () => {
    const server = await bench.start({ args: ["--rename-command", "AUTH", ""] });
    const failure = await rejection(bench.open(`redis://app:sup3rs3cret@127.0.0.1:${server.port}`));
    const { message, stack, cause } = failure as Error;
    const told = `${message} ${stack} ${String(cause)}`;
    expect(told).toMatch(/password/);
    expect(told).not.toContain("sup3rs3cret");
  });

  it("that dies fails calls at once, or holds them until it is back", async () => {
    const server = await bench.start();
    const records = await armed(server.url);
    await server.kill();
    await until("the death was noticed", async () => (await rejection(open(records, BRIEF))) !== null);
    await delay(20);
    const failure = rejection(open(records, AT_ONCE));
    expect(await duration(() => failure)).toBeLessThan(AT_ONCE.deadline / 2);
    expect(await failure).toMatchObject({ name: "RedisUnreachable", sent: false });
    const held = rejection(open(records, PATIENT));
    await server.restart();
    // It kept nothing on disk.
    expect(await held).toBeInstanceOf(RedisLost);
    expect(await rejection(records.ping())).toBeInstanceOf(RedisLost);
    await records.arm(GENERATION, "active");
    expect(await open(records, PATIENT)).toBe("L");
  });

  it("that dies under a call leaves its outcome unknown", async () => {
    const server = await bench.start();
    const records = await armed(server.url);
    server.pause();
    const failure = rejection(open(records, PATIENT));
    await delay(50);
    await server.kill();
    expect(await failure).toMatchObject({ name: "RedisUnreachable", sent: true });
  });

  it("that hangs costs a call its deadline, and the next ones nothing", async () => {
    const server = await bench.start();
    const records = await armed(server.url);
    server.pause();
    let failure: unknown;
    const waited = await duration(async () => {
      failure = await rejection(open(records, BRIEF));
    });
    expect(failure).toMatchObject({ name: "RedisUnreachable", sent: true });
    expect(waited).toBeGreaterThan(55);
    expect(waited).toBeLessThan(200);
    expect(await duration(() => rejection(open(records, AT_ONCE)))).toBeLessThan(AT_ONCE.deadline / 2);
    expect(await rejection(open(records, BRIEF))).toMatchObject({ sent: false });
    const held = open(records, PATIENT, "two");
    server.resume();
    expect(await held).toBe("L");
    // The late answer showed that it answers again; what was sent has taken effect.
    expect(await open(records, PATIENT, "three")).toBe("L");
    expect((await records.view(["one"]))[0]!.intents).toHaveLength(1);
  });

  it("that hangs for long loses its connection, and is found again", async () => {
    const server = await bench.start();
    const records = await armed(server.url, { deadlines: { stall: 200, connect: 200 } });
    server.pause();
    expect(await rejection(open(records, { deadline: 1_000, hold: true }))).toMatchObject({ sent: true });
    expect(await rejection(open(records, BRIEF))).toMatchObject({ sent: false });
    await delay(500);
    server.resume();
    expect(await open(records, PATIENT, "two")).toBe("L");
  });

  it("is not blamed for this process being busy", async () => {
    const server = await bench.start();
    const records = await armed(server.url);
    const answer = open(records, { deadline: 30, hold: false });
    await delay(0);
    for (const end = performance.now() + 150; performance.now() < end; );
    expect(await answer).toBe("L");
  });

  it("takes up again after its restart, with the scripts it forgot", async () => {
    const server = await bench.start({ args: ["--appendonly", "yes", "--appendfsync", "always"] });
    const records = await armed(server.url);
    records.trustRestarts = true;
    const session = later("kept");
    await records.open("one", ids.next(), "R", session, ids.next());
    await server.kill();
    await server.restart();
    expect(await records.read("one", ids.next(), PATIENT)).toMatchObject({ from: "R", session });
    expect(await records.dirtySids(9)).toEqual(["one"]);
    records.trustRestarts = false;
    await server.kill();
    await server.restart();
    expect(await rejection(records.read("one", ids.next(), PATIENT))).toBeInstanceOf(RedisLost);
  });

  it("is not asked any more once the records are closed", async () => {
    const server = await bench.start();
    const records = await armed(server.url);
    server.pause();
    const under = rejection(open(records, PATIENT));
    await records.end();
    expect(await under).toMatchObject({ name: "RedisUnreachable", sent: true });
    expect(await rejection(open(records, PATIENT))).toMatchObject({ code: "CLOSED" });
    server.resume();
  });
});

describe("the fence", () => {
  it("is asked before the first command on every connection, which has its name by then", async () => {
    const server = await bench.start();
    const plain = bench.plain(server.url);
    const node = newNodeId();
    const seen: string[] = [];
    const fence: Fence = async ({ store, endpoint }) => {
      expect([store, endpoint]).toEqual(["redis", null]);
      const clients = String(await plain.client("LIST")).split("\n");
      const ours = clients.find((client) => client.includes(` name=${connectionName(node)} `));
      seen.push(/ cmd=(\S+)/.exec(ours ?? "")?.[1] ?? "no connection of that name");
    };
    const records = await armed(server.url, { node, fence });
    expect(seen).toEqual(["client|setname"]);
    const other = await bench.open(server.url);
    await other.disconnectNode(node);
    expect(await open(records, PATIENT)).toBe("L");
    expect(seen).toEqual(["client|setname", "client|setname"]);
  });

  it("that refuses leaves the connection unused", async () => {
    const server = await bench.start();
    const plain = bench.plain(server.url);
    const node = newNodeId();
    let refuses = true;
    let asked = 0;
    const fence: Fence = async () => {
      asked++;
      if (refuses) throw new Error("evicted");
    };
    const records = await bench.open(server.url, { node, fence });
    records.generation = GENERATION;
    const failure = await rejection(open(records, { deadline: 400, hold: true }));
    expect(failure).toMatchObject({ name: "RedisUnreachable", sent: false });
    expect((failure as { cause: Error }).cause.cause).toMatchObject({ message: "evicted" });
    expect(asked).toBeGreaterThan(1);
    expect(await plain.info("commandstats")).not.toMatch(/cmdstat_(evalsha|script\||get|mget)/);
    refuses = false;
    await records.arm(GENERATION, "active");
    await records.ping();
  });

  it("holds calls back while it thinks", async () => {
    const server = await bench.start();
    let accept!: () => void;
    const thinking = new Promise<void>((resolve) => {
      accept = resolve;
    });
    const records = await bench.open(server.url, { fence: () => thinking, deadlines: { open: 50 } });
    records.generation = GENERATION;
    const before = records.arm(GENERATION, "active");
    expect(await rejection(open(records, BRIEF))).toMatchObject({ sent: false });
    accept();
    await before;
    expect(await open(records, PATIENT)).toBe("L");
  });

  it("ends a node's calls when the node is disconnected", async () => {
    const server = await bench.start();
    const node = newNodeId();
    let evicted = false;
    const fence: Fence = async () => {
      if (evicted) throw new Error("evicted");
    };
    const records = await armed(server.url, { node, fence, wait: { open: 0, destroy: 0 } });
    const other = await bench.open(server.url);
    other.generation = GENERATION;
    evicted = true;
    await other.disconnectNode(node);
    expect(await rejection(open(records, { deadline: 300, hold: true }))).toMatchObject({ name: "RedisUnreachable" });
    await other.ping();
    // Nobody of that name is there: nothing to do.
    await other.disconnectNode(newNodeId());
  });
});

describe("replicas", () => {
  const replicate = async (port: number) => {
    const replica = await bench.start({
      args: ["--replicaof", "127.0.0.1", String(port), "--repl-diskless-sync-delay", "0"],
    });
    const plain = bench.plain(replica.url);
    await until("the replica follows", async () => (await plain.info("replication")).includes("master_link_status:up"));
    return { replica, plain };
  };

  it("have a write before it is answered, where that is asked for", async () => {
    const server = await bench.start({ args: ["--repl-diskless-sync-delay", "0"] });
    const { replica, plain } = await replicate(server.port);
    const records = await armed(server.url, { wait: { open: 0, destroy: 1 } });
    await records.setAlone("one", later("x"));
    await records.open("one", ids.next(), "R", null, ids.next());
    expect(await plain.exists("sess:one")).toBe(0);
    expect((await plain.get("sf:shop:s:sess:one"))?.[0]).toBe("D");
    expect((await records.facts()).replicas).toBe(1);

    replica.pause();
    const brief = { deadline: 200, hold: true };
    const destroys = Array.from({ length: 20 }, (_, i) =>
      rejection(records.open(`gone-${i}`, ids.next(), "R", null, ids.next(), brief)),
    );
    const settled = duration(async () => {
      const failures = (await Promise.all(destroys)) as { name: string; sent: boolean }[];
      expect(failures.every(({ name }) => name === "RedisUnreachable")).toBe(true);
      expect(failures.filter(({ sent }) => sent)).toHaveLength(8);
    });
    // What does not wait goes on meanwhile.
    expect(await duration(() => records.read("two", ids.next(), BRIEF))).toBeLessThan(brief.deadline);
    expect(await open(records, PATIENT, "two")).toBe("L");
    expect(await settled).toBeLessThan(600);
    replica.resume();
    await until(
      "the lanes are free again",
      async () => (await records.open("later", ids.next(), "R", null, ids.next()).catch(() => null)) === "R",
    );
  });

  it("keep nobody waiting for a connection that cannot be made while others stand", async () => {
    const server = await bench.start({ args: ["--repl-diskless-sync-delay", "0"] });
    await replicate(server.port);
    let isAway = false;
    const fence: Fence = async () => {
      if (isAway) throw new Error("the control store is away");
    };
    const node = newNodeId();
    const records = await armed(server.url, { node, fence, wait: { open: 1, destroy: 1 } });
    await Promise.all(Array.from({ length: 8 }, (_, i) => open(records, PATIENT, `first-${i}`)));
    isAway = true;
    // Of several connections the second: the first carries what does not wait.
    const plain = bench.plain(server.url);
    const own = String(await plain.client("LIST"))
      .split("\n")
      .filter((line) => line.includes(node));
    expect(own.length).toBeGreaterThan(2);
    await plain.client("KILL", "ID", /\bid=(\d+)/.exec(own[1]!)![1]!);
    await delay(100);
    for (let i = 0; i < 20; i++) expect(await open(records, AT_ONCE, `then-${i}`)).toBe("L");
  });

  it("of whom nobody may ask leave a write unknown, which has taken effect", async () => {
    const server = await bench.start();
    const records = await armed(server.url, { wait: { open: 1, destroy: 1 } });
    await bench.plain(server.url).call("ACL", "SETUSER", "default", "-wait");
    const failure = await rejection(open(records, PATIENT));
    expect(failure).toMatchObject({ name: "RedisUnreachable", sent: true });
  });

  it("are not taken for R, and a master that became one is left", async () => {
    const server = await bench.start({ args: ["--repl-diskless-sync-delay", "0"] });
    const { replica, plain } = await replicate(server.port);
    const onReplica = await bench.open(replica.url);
    onReplica.generation = GENERATION;
    const failure = await rejection(open(onReplica, { deadline: 300, hold: true }));
    expect(failure).toMatchObject({ name: "RedisUnreachable", sent: false });
    await plain.replicaof("NO", "ONE");
    await onReplica.arm(GENERATION, "active");
    expect(await open(onReplica, PATIENT)).toBe("L");
    // It finds no master to copy from, so it keeps its data.
    await plain.replicaof("127.0.0.1", 1);
    const refused = await rejection(open(onReplica, PATIENT));
    expect(refused).toBeInstanceOf(RedisRefused);
    expect(await rejection(open(onReplica, { deadline: 300, hold: true }))).toMatchObject({ sent: false });
    await plain.replicaof("NO", "ONE");
    await onReplica.arm(GENERATION, "active");
    expect(await open(onReplica, PATIENT)).toBe("L");
  });
});
