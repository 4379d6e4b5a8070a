import type { Config } from "../core/config.js";
import { type ErrorCode, EXIT, type FerryError } from "../errors.js";
import type { ControlRecord, ControlStore } from "../ports/control-store.js";
import type { RedisFacts, SealState } from "../ports/redis-records.js";
import type { ControlRights, LegacySurvey, RedisRights } from "../ports/survey.js";

/** What was found out about one store, or why nothing was. */
export type Gathered<T> =
  | { readonly facts: T; readonly failure: null }
  | { readonly facts: null; readonly failure: FerryError };

export interface LegacyFacts {
  readonly survey: LegacySurvey;
  readonly sessions: number;
  readonly skew: number;
  readonly granularity: number;
}

export interface RedisState {
  readonly server: RedisFacts;
  readonly seal: { readonly migration: string; readonly generation: string; readonly state: SealState } | null;
  /** Whether any live key lies under the prefix. */
  readonly occupied: boolean;
  readonly skew: number;
}

export interface ControlState {
  readonly kind: ControlStore["kind"];
  /** Null before setup. */
  readonly record: ControlRecord | null;
  readonly rights: ControlRights | null;
  readonly skew: number;
}

/** How the door's listeners stand to the servers of `legacy.url`; one to one where all lists are empty. */
export interface ListenerMap {
  /** Servers that have a listener and are not in `legacy.url`. */
  readonly strangers: readonly string[];
  /** Servers of `legacy.url` without a listener. */
  readonly forgotten: readonly string[];
  /** Servers with several listeners. */
  readonly shared: readonly string[];
}

/** Everything the probes judge by. */
export interface Facts {
  readonly config: Config;
  readonly prefixes: readonly string[];
  readonly where: { readonly legacy: string; readonly redis: string; readonly control: string };
  readonly servers: {
    readonly legacy: readonly string[];
    readonly redis: readonly string[];
    readonly control: readonly string[];
  };
  readonly legacy: Gathered<LegacyFacts>;
  readonly redis: Gathered<RedisState>;
  /** Asked apart: a user who may do too little cannot be asked the rest. */
  readonly redisRights: Gathered<RedisRights>;
  readonly control: Gathered<ControlState>;
  /** Null where memcached's clients are not served. */
  readonly listeners: ListenerMap | null;
}

export type Verdict = "ok" | "warn" | "refused" | "unreachable";

export interface Finding {
  readonly ok: Verdict;
  readonly detail: string;
  /** What to do, with the lines to paste; null when all is well. */
  readonly remedy: string | null;
  /** For what forbids to go on. */
  readonly code?: ErrorCode;
}

/** One question of the doctor. It judges facts and asks nothing itself; null where it does not apply. */
export interface Probe {
  readonly name: string;
  /** Whether `setup` must not go on against it. */
  readonly guardsSetup: boolean;
  readonly judge: (facts: Facts) => Finding | null;
}

export function fine(detail: string): Finding {
  return { ok: "ok", detail, remedy: null };
}

export function warning(detail: string, remedy: string): Finding {
  return { ok: "warn", detail, remedy };
}

export function refused(code: ErrorCode, detail: string, remedy: string): Finding {
  return { ok: "refused", detail, remedy, code };
}

/** The first question to a store: whether it answers, and as what. */
export function reach<T>(
  name: keyof Facts["where"],
  pick: (facts: Facts) => Gathered<T>,
  describe: (found: T, facts: Facts) => string,
): Probe {
  return {
    name,
    guardsSetup: true,
    judge: (facts) => {
      const { facts: found, failure } = pick(facts);
      if (failure === null) return fine(describe(found, facts));
      const { code, message, remedy, exit } = failure;
      const detail = `${facts.where[name]}: ${message}`;
      return { ok: exit === EXIT.unreachable ? "unreachable" : "refused", detail, remedy, code };
    },
  };
}

export function bytesText(count: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = count < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(count) / 10));
  const value = count / 1024 ** power;
  return `${power === 0 ? Math.round(value) : value.toFixed(1)} ${units[power]}`;
}
