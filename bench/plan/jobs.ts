import { Redis } from "ioredis";
import type { BackfillDocument } from "../../src/cli/documents/jobs.js";
import { systemClock } from "../../src/runtime/clock.js";
import { probeListing } from "../../src/workflow/plan-probe.js";
import { sessionferry } from "../programs.js";
import type { LegacyName } from "../scale.js";
import { type Stage, tableOf } from "../stage.js";

/** One backfill and one check of so many sessions, each a process of its own, as they would be run for a migration. */
export interface JobRun {
  readonly legacy: LegacyName;
  readonly sessions: number;
  readonly bytes: number;
  /** Seconds, without the start of the process. */
  readonly backfill: number;
  readonly check: number;
  /** Sessions a second that the probe of `doctor --plan --measure` reads. */
  readonly probed: number;
  /** Bytes of Redis' memory before and after, and in and out of it during the backfill. */
  readonly memory: { readonly before: number; readonly after: number };
  readonly received: number;
  readonly sent: number;
}

export async function runJobs(stage: Stage, legacy: LegacyName, sessions: number, bytes: number): Promise<JobRun> {
  const migration = `plan-${legacy[0]}-${sessions}-${bytes}`;
  const table = tableOf(migration);
  await stage.seed(legacy, table, sessions, bytes);
  const redis = await stage.anotherRedis();
  const settings = stage.settings(migration, legacy, redis, table);
  const visitor = await stage.migration(settings, "dual-write");
  const folder = await stage.folder(settings);
  const client = new Redis(redis.url);
  try {
    const probed = await probeListing(visitor.legacy, systemClock);
    const before = await stateOf(client);
    const filled = await sessionferry<BackfillDocument>(folder, ["backfill"]);
    const after = await stateOf(client);
    const { counts, milliseconds } = filled.document.result!;
    if (counts.copied !== sessions) throw new Error(`the backfill copied ${counts.copied} of ${sessions} sessions`);
    const checked = await sessionferry<{ startedAt: number; endedAt: number }>(folder, ["check"]);
    return {
      legacy,
      sessions,
      bytes,
      backfill: milliseconds / 1000,
      check: (checked.document.endedAt - checked.document.startedAt) / 1000,
      probed: probed.rate,
      memory: { before: before.memory, after: after.memory },
      received: after.received - before.received,
      sent: after.sent - before.sent,
    };
  } finally {
    client.disconnect();
    await redis.stop();
    if (legacy === "postgres") await stage.pool.query(`DROP TABLE "${table}"`);
  }
}

async function stateOf(client: Redis) {
  const info = await client.info("everything");
  const number = (name: string) => Number(new RegExp(`^${name}:([0-9.]+)`, "m").exec(info)![1]);
  return {
    memory: number("used_memory"),
    received: number("total_net_input_bytes"),
    sent: number("total_net_output_bytes"),
  };
}
