import type { SealState } from "../../ports/redis-records.js";

/** What stands in the seal key: who armed R, and which run of the server was armed. */
export interface Seal {
  readonly generation: string;
  /** The server's run id at arming: another one has restarted or failed over since. */
  readonly run: string;
  readonly state: SealState;
  readonly migration: string;
  /** Of the sessions' own keys, so that two migrations notice that they share them. */
  readonly prefix: string;
}

/**
 * JSON with generation and run in front, so that a script can tell a seal that it may work under by comparing its
 * beginning with `sealBeginning`.
 */
export function encodeSeal({ generation, run, state, migration, prefix }: Seal): string {
  return JSON.stringify({ generation, run, state, migration, prefix });
}

export function sealBeginning(generation: string, run: string): string {
  return `${JSON.stringify({ generation, run }).slice(0, -1)},`;
}

/** Null for a text that no sessionferry wrote. */
export function decodeSeal(text: string): Seal | null {
  let seal: Partial<Record<keyof Seal, unknown>> | null;
  try {
    seal = JSON.parse(text);
  } catch {
    return null;
  }
  const { generation, run, state, migration, prefix } = seal ?? {};
  if (typeof generation !== "string" || typeof run !== "string" || typeof migration !== "string") return null;
  if (state !== "active" && state !== "complete") return null;
  return { generation, run, state, migration, prefix: typeof prefix === "string" ? prefix : "" };
}
