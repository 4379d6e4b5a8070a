import { isSynthetic } from "../core/synthetic.js";
import type { Clock } from "../ports/clock.js";
import type { LegacyStore } from "../ports/legacy-store.js";
import { type Plan, type PlanInput, planFor } from "./plan.js";
import { CONSTANTS, JOB_TIMES } from "./plan-constants.js";
import { probeListing } from "./plan-probe.js";

/** Where a figure of a plan comes from. */
export type Origin = "given" | "measured" | "configured" | "assumed";

export interface Sourced<T> {
  readonly value: T;
  readonly origin: Origin;
}

/** What somebody told on the command line; the rest is measured in the stores, or assumed. */
export interface Told {
  readonly sessions?: number | undefined;
  readonly valueBytes?: number | undefined;
  readonly keyBytes?: number | undefined;
  readonly reads?: number | undefined;
  readonly writes?: number | undefined;
  readonly touches?: number | undefined;
}

/** What the configuration says, where there is one. */
export interface Configured {
  readonly legacy: "postgres" | "memcached";
  readonly door: "library" | "proxy";
  /** Bytes that stand before a session id in Redis. */
  readonly prefixBytes: number;
  readonly jobRate: number;
  readonly memoryShare: number;
  /** Milliseconds that a change may wait for the drain. */
  readonly undrained: number;
}

/** What was found out in the legacy store. */
export interface Sampled {
  readonly sessions: number;
  /** Empty where there was nothing to look at. */
  readonly valueBytes: readonly number[];
  readonly sidBytes: number;
  /** Share of the sample that carries other flags than the preset's. */
  readonly otherFlags: number;
  readonly speed: number | null;
}

/** The sizes that are planned where none is told, beside the one that is there. */
export const SIZES = [10_000, 1_000_000, 50_000_000] as const;

export interface PlanAnswer {
  readonly site: {
    readonly legacy: Sourced<Configured["legacy"]>;
    readonly door: Sourced<Configured["door"]>;
    /** The mean. */
    readonly valueBytes: Sourced<number>;
    readonly keyBytes: Sourced<number>;
    /** Null: so many for each session as the assumptions say. */
    readonly reads: Sourced<number | null>;
    readonly writes: Sourced<number | null>;
    readonly touches: Sourced<number | null>;
    readonly speed: Sourced<number>;
  };
  readonly plans: readonly (Plan & Sourced<number> & { readonly load: Load })[];
}

/** Requests a second. */
export interface Load {
  readonly reads: number;
  readonly writes: number;
  readonly touches: number;
}

const NOBODY: Configured = {
  legacy: "postgres",
  door: "library",
  prefixBytes: 5,
  jobRate: 0,
  memoryShare: 0.8,
  undrained: 10_000,
};

export function answerPlan(told: Told, configured: Configured | null, sampled: Sampled | null): PlanAnswer {
  const site = configured ?? NOBODY;
  const by = configured === null ? "assumed" : "configured";
  const seen = sampled !== null && sampled.valueBytes.length > 0 ? sampled : null;
  const values: Sourced<readonly number[]> =
    told.valueBytes !== undefined
      ? { value: [told.valueBytes], origin: "given" }
      : seen !== null
        ? { value: seen.valueBytes, origin: "measured" }
        : { value: [CONSTANTS.assumedValue.value], origin: "assumed" };
  const key: Sourced<number> =
    told.keyBytes !== undefined
      ? { value: told.keyBytes, origin: "given" }
      : seen !== null
        ? { value: site.prefixBytes + seen.sidBytes, origin: "measured" }
        : { value: site.prefixBytes + CONSTANTS.assumedSid.value, origin: "assumed" };
  const speed: Sourced<number> =
    sampled?.speed == null ? { value: 1, origin: "assumed" } : { value: sampled.speed, origin: "measured" };
  const load = (sessions: number): Load => ({
    reads: told.reads ?? sessions * CONSTANTS.readsEach.value,
    writes: told.writes ?? sessions * CONSTANTS.writesEach.value,
    touches: told.touches ?? sessions * CONSTANTS.touchesEach.value,
  });
  const plan = ({ value, origin }: Sourced<number>) => {
    const input: PlanInput = {
      ...{ sessions: value, valueBytes: values.value, keyBytes: key.value, ...load(value) },
      ...{ legacy: site.legacy, door: site.door, jobRate: site.jobRate, memoryShare: site.memoryShare },
      // A token is given out to whoever asks by gets; who does so at all may do it for every session.
      companions: site.door === "proxy" ? Math.max(seen?.otherFlags ?? 0, CONSTANTS.companionShare.value) : 0,
      undrained: site.undrained / 1000,
      speed: speed.value,
    };
    return { ...planFor(input), value, origin, load: load(value) };
  };
  const given = (value: number | undefined): Sourced<number | null> =>
    value === undefined ? { value: null, origin: "assumed" } : { value, origin: "given" };
  return {
    site: {
      legacy: { value: site.legacy, origin: by },
      door: { value: site.door, origin: by },
      valueBytes: { value: Math.round(meanOf(values.value)), origin: values.origin },
      keyBytes: { value: Math.round(key.value), origin: key.origin },
      reads: given(told.reads),
      writes: given(told.writes),
      touches: given(told.touches),
      speed,
    },
    plans: sizes(told, sampled).map(plan),
  };
}

function sizes({ sessions }: Told, sampled: Sampled | null): Sourced<number>[] {
  if (sessions !== undefined) return [{ value: sessions, origin: "given" }];
  const standard = SIZES.map((value): Sourced<number> => ({ value, origin: "assumed" }));
  const there = sampled?.sessions ?? 0;
  return there === 0 ? standard : [{ value: there, origin: "measured" }, ...standard];
}

/** Sizes of so many sessions are looked at: their mean is within a few percent of that of all. */
const SAMPLE = 1_000;

/** Looks at the sizes of some sessions, and counts all; with `measure` it also reads for some seconds. */
export async function sampleLegacy(
  legacy: LegacyStore,
  clock: Clock,
  { flags, measure }: { readonly flags: number; readonly measure: boolean },
): Promise<Sampled> {
  const sessions = await legacy.count();
  const valueBytes: number[] = [];
  let sidBytes = 0;
  let otherFlags = 0;
  for await (const page of legacy.list({ pageSize: SAMPLE })) {
    const sids = page.filter((sid) => !isSynthetic(sid)).slice(0, SAMPLE);
    const found = await legacy.getMany(sids);
    found.forEach((session, i) => {
      if (session === null) return;
      valueBytes.push(session.value.length);
      sidBytes += Buffer.byteLength(sids[i]!);
      if (session.flags !== flags) otherFlags++;
    });
    if (valueBytes.length > 0) break;
  }
  const looked = Math.max(1, valueBytes.length);
  const probe = measure ? await probeListing(legacy, clock) : null;
  const kind = legacy.kind === "memcached" ? "memcached" : "postgres";
  return {
    sessions,
    valueBytes,
    sidBytes: sidBytes / looked,
    otherFlags: otherFlags / looked,
    speed: probe === null || probe.rate === 0 ? null : probe.rate / expectedProbe(kind, meanOf(valueBytes)),
  };
}

/** What the probe would read a second on the machine of the constants. */
function expectedProbe(legacy: Configured["legacy"], bytes: number): number {
  const { base, slope } = JOB_TIMES[legacy].probe;
  return 1e6 / (base + (slope * bytes) / 1000);
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}
