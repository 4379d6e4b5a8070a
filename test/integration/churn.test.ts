import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { PROTOCOL_NUMBER } from "../../src/ports/control-store.js";
import { seeded } from "../support/history-traffic.js";
import { until } from "../support/processes.js";
import { AWAY, at, BusySite, DEADLINE } from "./busy-site.js";
import { type MemberProcess, processPackage } from "./processes.js";

/** Processes that come and go beside the two that stay: three dozens, each of which takes a core a second to start. */
const COMERS = 36;
const EVERY = 500;
/** So long (milliseconds) the process sleeps at least that was frozen first. */
const SLEEP = 120_000;
/** The longest of the waits, on a machine with two cores on which others work: what is waited for takes ten seconds. */
const PATIENCE = 120_000;
const SOON = { timeouts: { legacy: DEADLINE } };

const own = { folder: "", remove: () => {} };
/** The release after this one: another protocol number, and nothing else. */
const next = { folder: "", remove: () => {} };
beforeAll(() => {
  Object.assign(own, processPackage());
  const root = join(own.folder, "../../..");
  cpSync(root, `${root}-next`, { recursive: true, verbatimSymlinks: true });
  next.folder = join(`${root}-next`, relative(root, own.folder));
  next.remove = () => rmSync(`${root}-next`, { recursive: true, force: true });
  const path = join(`${root}-next`, "src/ports/control-store.js");
  const text = readFileSync(path, "utf8");
  const raised = text.replace(`PROTOCOL_NUMBER = ${PROTOCOL_NUMBER}`, `PROTOCOL_NUMBER = ${PROTOCOL_NUMBER + 1}`);
  expect(raised).not.toBe(text);
  writeFileSync(path, raised);
});
afterAll(() => {
  own.remove();
  next.remove();
});

let busy: BusySite;
afterEach(() => busy?.close());

test("processes of two releases come and go, are killed and frozen: nobody has to help, and none that wakes writes", async () => {
  // A machine that is busy with so many processes must not look like a Redis that is away.
  busy = await BusySite.open(own.folder, at("read-through"), { pause: 25, config: { ...SOON, onRedisDown: "fail" } });
  const random = seeded(11);
  const comers: { readonly member: MemberProcess; readonly folder: string }[] = [];
  const asleep: MemberProcess[] = [];
  let frozenAt = Number.POSITIVE_INFINITY;
  let mixed = 0;
  for (let i = 0; i < COMERS; i++) {
    const folder = i % 2 === 0 ? own.folder : next.folder;
    comers.push({ member: await busy.start(folder), folder });
    await delay(random() * EVERY);
    const awake = comers.map(({ member }) => member).filter((member) => member.alive && !member.frozen);
    if (awake.length < 3) continue;
    const releases = new Set((await busy.site.look(({ control }) => control.nodes())).map(({ protocol }) => protocol));
    if (releases.size === 2) mixed++;
    const victim = awake[Math.floor(random() * awake.length)]!;
    const fate = random();
    if (fate < 0.45) await victim.kill();
    else if (fate < 0.75) {
      victim.freeze();
      frozenAt = Math.min(frozenAt, Date.now());
      asleep.push(victim);
    } else void victim.close();
  }
  // Side by side nearly all of the time, and some frozen: or this has tested nothing.
  expect(mixed).toBeGreaterThan(COMERS / 2);
  expect(asleep.length).toBeGreaterThan(COMERS / 6);
  const awake = () => busy.processes.filter((member) => member.alive && !member.frozen);
  await until(
    "those that are gone are forgotten",
    async () => (await busy.nodes()).length === awake().length,
    PATIENCE,
  );
  await delay(Math.max(0, frozenAt + SLEEP - Date.now()));
  const before = await busy.nodes();
  for (const member of asleep) member.wake();
  await until(
    "the frozen ones have joined again",
    async () => (await busy.nodes()).length === awake().length,
    PATIENCE,
  );
  expect(await busy.nodes()).toEqual(expect.arrayContaining(before));
  expect((await busy.ledger()).map(({ action }) => action)).not.toContain("interrupted");
  await busy.recovered(PATIENCE);

  // Two releases side by side serve together, and no step is taken until there is one.
  await expect(busy.site.moveTo(at("redis-first"))).rejects.toMatchObject({ code: "PROTOCOL_MISMATCH" });
  expect(await busy.site.record()).toMatchObject({ position: at("read-through"), pending: null });
  await Promise.all(comers.filter(({ folder }) => folder === next.folder).map(({ member }) => member.close()));
  await busy.site.moveTo(at("redis-first"));
  await busy.rest();
  busy.expectOnly([...AWAY, "cut-off", "NODE_EVICTED", "CLOSED"]);
}, 600_000);

test("a process of another release that joins in the middle of a step: the step waits for it to go", async () => {
  busy = await BusySite.open(own.folder, at("read-through"));
  let stranger: MemberProcess | null = null;
  const step = busy.site.command((coordinator) => coordinator.moveTo(at("redis-first"), "test"), {
    event() {},
    at(point) {
      if (point !== "transition:acknowledged" || stranger !== null) return undefined;
      return busy.start(next.folder).then((member) => {
        stranger = member;
      });
    },
  });
  await expect(step).rejects.toMatchObject({ code: "PROTOCOL_MISMATCH" });
  expect((await busy.site.record()).pending).toMatchObject({ upper: at("redis-first") });
  await stranger!.close();
  await busy.site.command((coordinator) => coordinator.finish());
  expect(await busy.site.record()).toMatchObject({ position: at("redis-first"), pending: null });
  await busy.rest();
  busy.expectOnly([]);
});
