import type { SealState } from "../../ports/redis-records.js";

/** What stands in the seal key: who armed R, and which run of the server was armed. */
export interface Seal {
  readonly generation: string;
  /**
   * The server's run id at arming: another one has restarted or failed over since. In a Redis Cluster those of all
   * masters, with commas between them.
   */
  readonly run: string;
  /** Of the sessions' own keys: a node that is configured with another one works on other records. */
  readonly prefix: string;
  readonly state: SealState;
  readonly migration: string;
  /** Of the walk in which R was written first last. */
  readonly stamp?: string;
}

/**
 * JSON with generation, run and prefix in front, so that a script can tell a seal that it may work under by comparing
 * its beginning with `sealBeginning`.
 */
export function encodeSeal({ generation, run, prefix, state, migration, stamp }: Seal): string {
  return JSON.stringify({ generation, run, prefix, state, migration, stamp });
}

export function sealBeginning(generation: string, run: string, prefix: string): string {
  return `${JSON.stringify({ generation, run, prefix }).slice(0, -1)},`;
}

export function runsOf({ run }: Seal): string[] {
  return run.split(",");
}

/** The text as it would be if the seal named this run alone, where it is among those that it names (see common.lua). */
export function withRun(text: string, run: string): string {
  const runs = /"run":"([0-9a-f,]+)"/.exec(text)?.[1];
  return runs?.includes(run) ? text.replace(runs, run) : text;
}

/** Null for a text that no sessionferry wrote. */
export function decodeSeal(text: string): Seal | null {
  let seal: Partial<Record<keyof Seal, unknown>> | null;
  try {
    seal = JSON.parse(text);
  } catch {
    return null;
  }
  const { generation, run, state, migration, prefix, stamp } = seal ?? {};
  if (typeof generation !== "string" || typeof run !== "string" || typeof prefix !== "string") return null;
  if (typeof migration !== "string" || (state !== "active" && state !== "complete")) return null;
  return { generation, run, prefix, state, migration, ...(typeof stamp === "string" && { stamp }) };
}
