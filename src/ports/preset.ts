import { restOf } from "../core/place.js";
import type { LegacyPresetName, RedisPresetName } from "../core/preset-names.js";
import type { Session, Sid } from "../core/session.js";

/** How one framework's store lays out its sessions: data, so that both sides of a migration are told by a name. */
export interface LegacyPreset {
  readonly name: LegacyPresetName;
  readonly title: string;
  readonly backend: "postgres" | "memcached";
  /** Put before the sid to make the key; "" where the key is the sid. */
  readonly prefix: string;
  /** Flags that every item of this format carries; 0 for SQL. */
  readonly flags: number;
  /** SQL only. */
  readonly table?: { readonly name: string; readonly sid: string; readonly value: string; readonly expiry: string };
  /** memcached only: how this format's client chooses among several servers. */
  readonly distribution?: "modulo" | "ketama";
  /** What the value is, in a sentence for `presets`. */
  readonly value: string;
  /** How the format gets its lifetime, in a sentence for `presets`. */
  readonly lifetime: string;
  /** The lifetime in milliseconds where a session tells none. */
  readonly defaultLifetime: number;
  /** Sids, that is keys without the prefix, that are no sessions: never copied and never counted (locks). */
  readonly ignore?: readonly RegExp[];
  /** What must be so before the sessions move, sentence by sentence. */
  readonly beware?: readonly string[];
}

export interface RedisPreset {
  readonly name: RedisPresetName;
  readonly title: string;
  readonly prefix: string;
  readonly value: string;
  readonly lifetime: string;
  readonly beware?: readonly string[];
}

/** Whether a sid is none that moves: a lock, say. */
export function isIgnored({ ignore }: Pick<LegacyPreset, "ignore">, sid: Sid): boolean {
  return ignore?.some((pattern) => pattern.test(restOf(sid))) ?? false;
}

/** Turns the bytes of one side into those of the other where the formats differ; identity for all presets so far. */
export interface Codec {
  toRedis(session: Session): Buffer;
  fromRedis(value: Buffer, expiresAt: number): Session;
}
