import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MemoryControlStore } from "../../src/control/memory.js";
import { newNodeId } from "../../src/core/ids.js";
import type { PhaseName } from "../../src/core/phase.js";
import type { FerryError } from "../../src/errors.js";
import type { Ferry } from "../../src/ferry/ferry.js";
import { NO_FENCE } from "../../src/ports/fence.js";
import type { LegacyStore } from "../../src/ports/legacy-store.js";
import type { RedisRecords } from "../../src/ports/redis-records.js";
import { connectMemcached } from "../../src/presets/connect-memcached.js";
import { systemClock } from "../../src/runtime/clock.js";
import { type RunningServer, startMemcached, startPostgres, startRedis } from "../../src/servers/index.js";
import { openMemcachedLegacy } from "../../src/stores/memcached/store.js";
import { openRedisRecords } from "../../src/stores/redis/index.js";
import { openStore, sql, TABLE } from "../stores/postgres-support.js";
import { AMPLE, ferryOver } from "../support/rig.js";
import { assertCatalogued, assertNoSecret, SECRETS, Unheard } from "./judge.js";
import { PATIENCE, runs } from "./runs.js";

const GENERATION = "0123456789abcdef";

/** Session ids as no generator of ids makes them, and as somebody may send them all the same. */
const sid = fc
  .oneof(
    fc.string({ unit: "binary", maxLength: 20 }),
    fc.string({ unit: "grapheme", maxLength: 20 }),
    fc.constantFrom("", "\0", "a\0b", "\ud800", "x\udfff", "\ud83d\ude00", " ", "a b", "\t", "\r\nflush_all\r\n"),
    fc.constantFrom("*", "?[a-z]", "\\", "{a}", "{}", "}{", "sf:shop:seal", "{sf:shop}", "sess:a", "'; --", '"', "%00"),
    fc.constantFrom(186, 187, 240, 250, 251, 300, 3_000).map((length) => "k".repeat(length)),
    fc.constantFrom(60, 90, 125, 200).map((length) => "é".repeat(length)),
  )
  .chain((text) => fc.constantFrom(text, `${text}${SECRETS.sid}`));
const value = fc.oneof(
  fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
  fc.jsonValue().map((json) => Buffer.from(JSON.stringify(json))),
  fc
    .constantFrom("", "{", "null", '"\\u0000"', '"\\ud800"', "[".repeat(9_000), `{"a":"${SECRETS.value}"}`)
    .map((text) => Buffer.from(text)),
  fc.constantFrom(900_000, 1_048_576, 3_000_000).map((length) => Buffer.from(JSON.stringify("v".repeat(length)))),
);

/** What was done, or the code of the error that a caller sees. */
async function outcome<T>(work: Promise<T>): Promise<{ done: T } | { code: string }> {
  try {
    return { done: await work };
  } catch (error) {
    assertCatalogued(error);
    const failure = error as FerryError;
    assertNoSecret(`${failure.message} ${failure.remedy} ${failure.stack}`);
    return { code: failure.code };
  }
}

describe.each(["postgres", "memcached"] as const)("session ids and values of any kind, over %s", (kind) => {
  const servers: RunningServer[] = [];
  let legacy: LegacyStore & { close(): Promise<void> };
  let records: RedisRecords;
  const ferries = new Map<PhaseName, Ferry>();
  const unheard = new Unheard();
  beforeAll(async () => {
    servers.push(await startRedis(), await (kind === "postgres" ? startPostgres() : startMemcached()));
    const [redis, server] = servers as [RunningServer, RunningServer];
    if (kind === "postgres") await sql(server.url, TABLE);
    legacy =
      kind === "postgres"
        ? await openStore(server.url, { deadline: 5_000 })
        : openMemcachedLegacy({ url: server.url, preset: connectMemcached, connections: 2, deadline: 5_000 });
    // Nothing in front of the session ids, so that they may be taken for our own keys.
    records = await openRedisRecords({
      url: redis.url,
      prefix: "",
      migration: "shop",
      node: newNodeId(),
      fence: NO_FENCE,
    });
    records.generation = GENERATION;
    await records.arm(GENERATION, "active");
    for (const phase of ["dual-write", "read-through", "redis-first"] as const) {
      const control = new MemoryControlStore({ clock: systemClock });
      await control.setup({
        position: { phase, percent: 100 },
        pending: null,
        generation: GENERATION,
        interrupted: false,
      });
      const ferry = await ferryOver({ legacy, records, control, clock: systemClock, limits: AMPLE });
      ferries.set(phase, ferry);
    }
    unheard.listen();
  });
  afterAll(async () => {
    unheard.close();
    await records?.end();
    await legacy?.close();
    for (const server of servers) await server.stop();
  });

  /** A ferry that refuses everything would be without fault. */
  let carried = 0;

  async function carry(id: string, bytes: Buffer, writer: "dual-write" | "redis-first"): Promise<void> {
    const expiresAt = Math.ceil(Date.now() / 1000) * 1000 + 600_000;
    const same = (left: Buffer) =>
      left.equals(bytes) || expect(JSON.parse(left.toString())).toEqual(JSON.parse(bytes.toString()));
    const ferry = ferries.get(writer)!;
    const first = await outcome(ferry.set(id, { value: bytes, flags: 0, expiresAt }));
    const reader = ferries.get(writer === "dual-write" ? "read-through" : "redis-first")!;
    const read = await outcome(reader.get(id));
    if ("code" in first) {
      // Refused, so nothing of it is there.
      if ("done" in read) expect(read.done).toBeNull();
    } else {
      carried++;
      expect(read).toHaveProperty("done.value");
      same((read as { done: { value: Buffer } }).done.value);
      expect(await outcome(reader.touch(id, expiresAt + 60_000))).toHaveProperty("done");
      if (writer === "redis-first") {
        // What L cannot hold stays dirty in R, which is told; all else is carried over whole.
        const drained = await outcome(ferry.drain([id]));
        const held = await outcome(legacy.get(id));
        if ("done" in drained && drained.done === 1) same((held as { done: { value: Buffer } }).done.value);
        else if ("done" in held) expect(held.done).toBeNull();
      } else {
        const copied = await outcome(reader.copy([id], { force: true }));
        expect(copied).toHaveProperty("done");
        same((await reader.get(id))!.value);
      }
    }
    await outcome(ferry.destroy(id));
    const gone = await outcome(reader.get(id));
    if ("done" in gone) expect(gone.done).toBeNull();
    const left = await outcome(legacy.get(id));
    if ("done" in left) expect(left.done).toBeNull();
    await unheard.assertNone();
  }

  it("found: half a surrogate pair was the session of every other half", async () => {
    for (const ferry of ferries.values()) {
      await ferry.set("half-\ufffd", { value: Buffer.from("{}"), flags: 0, expiresAt: Date.now() + 60_000 });
      expect(await outcome(ferry.get("half-\ud800"))).toEqual({ code: "GUARD_REFUSED" });
      expect(await outcome(ferry.destroy("half-\udfff"))).toEqual({ code: "GUARD_REFUSED" });
      expect(await outcome(ferry.touch("half-\udfff", Date.now() + 60_000))).toEqual({ code: "GUARD_REFUSED" });
      expect(await ferry.get("half-\ufffd")).not.toBeNull();
      await ferry.destroy("half-\ufffd");
    }
  });

  it("are carried whole, or refused whole", { timeout: PATIENCE }, async () => {
    await fc.assert(fc.asyncProperty(sid, value, fc.constantFrom("dual-write", "redis-first"), carry), runs(30));
    expect(carried).toBeGreaterThan(10);
  });
});
