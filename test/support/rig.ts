import { randomBytes } from "node:crypto";
import { MemoryControlStore } from "../../src/control/memory.js";
import { IdSource, newNodeId } from "../../src/core/ids.js";
import type { Phases, Position } from "../../src/core/phase.js";
import type { Session, Sid } from "../../src/core/session.js";
import { Arrears } from "../../src/ferry/arrears.js";
import type { FerryContext } from "../../src/ferry/context.js";
import { Ferry } from "../../src/ferry/ferry.js";
import { RedisHealth } from "../../src/ferry/redis-health.js";
import { Routing } from "../../src/ferry/routing.js";
import { SharedDrains } from "../../src/ferry/shared-drains.js";
import { loadPhases } from "../../src/phases.js";
import type { Clock } from "../../src/ports/clock.js";
import type { ControlStore } from "../../src/ports/control-store.js";
import type { LegacyStore } from "../../src/ports/legacy-store.js";
import { SILENT } from "../../src/ports/observer.js";
import type { RedisRecords } from "../../src/ports/redis-records.js";
import { MemoryLegacyStore } from "../../src/stores/legacy-memory.js";
import { MemoryRedisRecords } from "../../src/stores/records-memory.js";
import { VirtualClock } from "./virtual-clock.js";

const GENERATION = "generation-1";
const HOUR = 3_600_000;

/** Real servers on a busy machine answer late now and then, and nobody would flush what that leaves behind. */
export const AMPLE = { redis: 5_000, request: 20_000 };

/** One node's ferry over the given stores, at the position that the control store holds. */
export async function ferryOver(stores: {
  legacy: LegacyStore;
  records: RedisRecords;
  control: ControlStore;
  clock: Clock;
  phases?: Phases;
  /** In milliseconds. With a clock of its own nothing takes any time. */
  limits?: FerryContext["limits"];
}): Promise<Ferry> {
  const { legacy, records, control, clock, phases = loadPhases(), limits = { redis: 50, request: 5_000 } } = stores;
  return new Ferry({
    legacy,
    records,
    clock,
    routing: new Routing(phases, await control.read()),
    arrears: new Arrears(),
    drains: new SharedDrains(),
    health: new RedisHealth(clock, SILENT),
    ids: new IdSource(newNodeId()),
    observer: SILENT,
    limits,
  });
}

export interface Rig {
  readonly clock: VirtualClock;
  readonly legacy: MemoryLegacyStore;
  readonly records: MemoryRedisRecords;
  readonly control: MemoryControlStore;
  readonly ferry: Ferry;
  readonly copier: Ferry;
  readonly ids: IdSource;
  /** Plain clients of both sides. */
  readonly witnesses: {
    legacy: { get(sid: Sid): Promise<Buffer | null> };
    redis: { get(sid: Sid): Promise<Buffer | null> };
  };
  /** New sessions in L alone. */
  seedLegacy(count: number): Promise<Sid[]>;
  /** Puts a record into R as a copy would, whatever L holds. */
  putRecord(sid: Sid, session: Session): Promise<void>;
  /** Moves the whole migration at once, as if all nodes had walked there. */
  moveTo(position: Position, generation?: string): Promise<void>;
}

/** A migration in memory at a given position, with a ferry of one node. */
export async function rigAt(position: Position, options: { lossy?: boolean } = {}): Promise<Rig> {
  const clock = new VirtualClock();
  const legacy = new MemoryLegacyStore({ clock, lossy: options.lossy ?? false });
  const records = new MemoryRedisRecords({ clock, migration: "test" });
  const control = new MemoryControlStore({ clock, migration: "test" });
  await control.setup({ position, pending: null, generation: GENERATION, interrupted: false });
  records.generation = GENERATION;
  await records.arm(GENERATION, "active");
  const ferry = await ferryOver({ legacy, records, control, clock });
  const { ids } = ferry.ctx;
  return {
    clock,
    legacy,
    records,
    control,
    ferry,
    copier: ferry,
    ids,
    witnesses: {
      legacy: { get: async (sid) => legacy.peek(sid)?.value ?? null },
      redis: { get: async (sid) => records.snapshot(sid).v?.value ?? null },
    },
    async seedLegacy(count) {
      const sids = Array.from({ length: count }, newSid);
      for (const [i, sid] of sids.entries()) await legacy.set(sid, sessionOf(i, clock.now() + HOUR));
      return sids;
    },
    async putRecord(sid, session) {
      await records.mark([sid]);
      const answer = await records.read(sid, ids.next());
      if (answer.from !== "L" || answer.lease === null) throw new Error("this record is under way");
      await records.fill(sid, answer.lease, session);
    },
    async moveTo(to, generation) {
      const record = await control.read();
      const next = { ...record, position: to, generation: generation ?? record.generation };
      const moved = await control.compareAndSet(record.revision, next);
      if (moved === null) throw new Error("somebody else moved");
      ferry.ctx.routing.follow(moved);
      if (generation !== undefined) {
        records.generation = generation;
        await records.drop([0, 10_000]);
        await records.arm(generation, "active");
      }
    },
  };
}

export function newSid(): Sid {
  return randomBytes(24).toString("base64url");
}

export function sessionOf(user: number, expiresAt: number): Session {
  const cookie = { originalMaxAge: HOUR, expires: new Date(expiresAt).toISOString(), httpOnly: true, path: "/" };
  return {
    value: Buffer.from(JSON.stringify({ cookie, user, cart: [{ sku: "a-1", count: 1 }] })),
    flags: 0,
    expiresAt,
  };
}
