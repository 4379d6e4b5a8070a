/** Commands that are overtaken by others, by the fleet, or by what happens to Redis. */
import { Redis } from "ioredis";
import pg from "pg";
import { afterEach, expect, test } from "vitest";
import { steered } from "../../src/cli/node.js";
import type { PhaseName, Position } from "../../src/core/phase.js";
import { begin } from "../../src/core/transition.js";
import { loadPhases } from "../../src/phases.js";
import type { Observer, Point } from "../../src/ports/observer.js";
import { until } from "../support/processes.js";
import { Site } from "./site.js";

const at = (phase: PhaseName, percent = 100): Position => ({ phase, percent });
const AUTHOR = { by: "test", reason: "", at: 0 };

let site: Site;
afterEach(() => site?.close());

const open = (phase: PhaseName) =>
  Site.open({
    ...{ legacy: "postgres", control: "legacy", start: at(phase) },
    config: { timeouts: { acknowledge: "5s", drain: "5s" } },
  });

/** Acts where a command passes this point. */
const when = (point: Point, act: () => Promise<void>): Observer => ({
  event() {},
  at: async (passed) => {
    if (passed === point) await act();
  },
});

const pendingRung = async () => (await site.record()).pending?.rung;

test("a step that was judged on another record is not taken, neither up nor down", async () => {
  site = await open("dual-write");
  const judged = (await site.record()).revision;
  await site.moveTo(at("read-through"));
  const late = site.command((coordinator) => coordinator.moveTo(at("read-through", 10), "test", judged));
  await expect(late).rejects.toMatchObject({ code: "OVERTAKEN" });
  expect(await site.record()).toMatchObject({ position: at("read-through"), pending: null });
});

test("what was judged of a Redis that was armed anew since does not carry the step into read-through", async () => {
  site = await open("dual-write");
  await site.join();
  await site.look(async ({ control }) => {
    const record = await control.read();
    await control.compareAndSet(record.revision, begin(record, at("read-through"), loadPhases(), AUTHOR));
  });
  const { generation } = await site.record();
  await site.emptyRedis();
  await until("Redis is armed anew", async () => (await site.record()).generation !== generation);
  await expect(site.command((coordinator) => coordinator.finish())).rejects.toMatchObject({ code: "GATE_REFUSED" });
  expect(await site.record()).toMatchObject({ position: at("dual-write"), pending: null });
});

test("a Redis that was emptied on the last rung to complete is not sealed", async () => {
  site = await open("full-redis");
  await site.join();
  const plain = new Redis(site.redis.url);
  try {
    const emptied = when("transition:work", async () => {
      await plain.flushall();
    });
    const step = site.command((coordinator) => coordinator.moveTo(at("complete"), "test"), emptied);
    await expect(step).rejects.toMatchObject({ name: "RedisLost" });
    expect(await plain.dbsize()).toBe(0);
    expect(await site.record()).toMatchObject({ position: at("full-redis") });
  } finally {
    plain.disconnect();
  }
});

test("a step to redis-first that is turned round twice knows the Redis by which it went ahead", async () => {
  site = await open("read-through");
  await site.join();
  const brokenOffAt = (rung: number) =>
    when("transition:published", async () => {
      if ((await pendingRung()) === rung) throw new Error("the command dies");
    });
  const dies = async (observer: Observer, walk: Parameters<Site["command"]>[0]) =>
    expect(site.command(walk, observer)).rejects.toThrow("the command dies");
  const top = loadPhases()["redis-first"].ladder.length - 1;
  await dies(brokenOffAt(top), (coordinator) => coordinator.moveTo(at("redis-first", 10), "test"));
  const { stamp } = (await site.record()).pending!;
  const turnedRoundAt = async (rung: number) => {
    await dies(brokenOffAt(rung), (coordinator) => coordinator.reverse("test"));
    const turned = (await site.record()).pending!;
    await dies(brokenOffAt(top), (coordinator) => coordinator.reverse("test"));
    const { pending } = await site.record();
    expect(pending).toMatchObject({ ahead: true, behind: true, direction: "up" });
    expect(await site.look(({ records }) => records.seals())).toMatchObject({ stamp: pending!.stamp });
    return { turned, again: pending! };
  };
  // In write-through what was answered before may wait to be drained: a later stamp would make it look older than it is.
  const near = await turnedRoundAt(top - 1);
  expect(near.turned).toMatchObject({ behind: true, stamp });
  expect(near.again.stamp).toBe(stamp);
  // Below it all that was answered is in the legacy store, and may be changed there: what Redis held before counts no more.
  const far = await turnedRoundAt(top - 2);
  expect(far.turned).toMatchObject({ ahead: true, behind: false });
  expect(far.turned).not.toHaveProperty("stamp");
  expect(Number(far.again.stamp)).toBeGreaterThan(Number(stamp));
});

test("the authority does not move while no application is there to tell what others write", async () => {
  site = await open("read-through");
  const step = site.command((coordinator) => coordinator.moveTo(at("redis-first", 10), "test"));
  await expect(step).rejects.toMatchObject({ code: "GATE_REFUSED" });
  expect(await site.record()).toMatchObject({ position: at("read-through"), pending: null });
  await site.join();
  expect(await site.moveTo(at("redis-first", 10))).toMatchObject({ position: at("redis-first", 10) });
});

test("a control store that was restored under a living fleet moves nothing", async () => {
  site = await open("dual-write");
  await site.join();
  await site.moveTo(at("read-through"));
  const { revision } = await site.record();
  await until("it is acknowledged", () =>
    site.look(async ({ control }) => (await control.nodes()).some(({ report }) => report.acknowledged === revision)),
  );
  const client = new pg.Client(site.control.url);
  await client.connect();
  // As it was a while ago, but for the registry, which the processes keep up to date.
  await client.query("ALTER TABLE sessionferry.control_record DISABLE TRIGGER USER");
  await client.query("UPDATE sessionferry.control_record SET revision = revision - 1, phase = 'dual-write'");
  await client.end();
  const step = site.command((coordinator) => coordinator.moveTo(at("read-through"), "test"));
  await expect(step).rejects.toMatchObject({ code: "REVISION_WENT_BACK" });
  expect(await site.record()).toMatchObject({ revision: revision - 1, position: at("dual-write"), pending: null });
});

test("a command that loses the control store on the way tells what it has left", async () => {
  site = await Site.open({ legacy: "postgres", control: "postgres", start: at("dual-write") });
  await site.join();
  let isFatal = false;
  const dying = when("transition:published", async () => {
    if (isFatal) await site.control.kill();
  });
  await site.command(async (coordinator, node) => {
    const rolled = await steered(node, coordinator, () => coordinator.moveTo(at("legacy"), "test"));
    expect(rolled).toMatchObject({ position: at("legacy") });
    isFatal = true;
    const lost = steered(node, coordinator, () => coordinator.moveTo(at("dual-write"), "test"));
    await expect(lost).rejects.toMatchObject({
      code: "TRANSITION_PENDING",
      changed: "the transition legacy 100 % -> dual-write 100 % is recorded and pending",
    });
  }, dying);
  await site.control.restart();
  await site.breakLock();
  isFatal = false;
  await site.command(async (coordinator, node) => {
    await steered(node, coordinator, () => coordinator.finish());
    await site.control.kill();
    const lost = steered(node, coordinator, () => coordinator.moveTo(at("legacy"), "test"));
    await expect(lost).rejects.toMatchObject({
      code: "CONTROL_UNREACHABLE",
      changed: "the migration was taken to dual-write 100 %",
    });
    await site.control.restart();
  });
});
