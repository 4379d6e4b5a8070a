import type { SealState } from "./redis-records.js";

/**
 * What the doctor asks of the stores beyond the ports that serve sessions: facts about servers, rights and sizes. A
 * survey only looks; it holds no session id and no value.
 */

export interface PostgresSurvey {
  readonly kind: "postgres";
  readonly version: string;
  readonly role: string;
  /** In which a column without zone is read and written by this role's connections. */
  readonly timeZone: string;
  /** Quoted, with its schema: ready to stand in a GRANT. */
  readonly table: string;
  /** False: the expiry's meaning depends on `timeZone`. */
  readonly zoned: boolean;
  /** Of SELECT, INSERT, UPDATE and DELETE, those that the role lacks. */
  readonly missingRights: readonly string[];
  readonly withoutExpiry: number;
  /** A pooler stands between us and the server. */
  readonly pooled: boolean;
  /** Mean bytes of a session's value and id, over a sample; null where nothing could be read. */
  readonly averageBytes: number | null;
  /** Sessions that Redis cannot take, because their value is larger than 512 MB. */
  readonly tooLarge: number;
  /** Connections to this database that are not ours, by application_name. */
  readonly others: readonly { readonly name: string; readonly role: string; readonly connections: number }[];
  /** Other roles that may write the table. */
  readonly otherWriters: readonly string[];
}

export interface MemcachedSurvey {
  readonly kind: "memcached";
  readonly servers: readonly {
    readonly address: string;
    readonly version: string;
    readonly items: number;
    readonly bytes: number;
    readonly maxBytes: number;
    /** Items thrown out for want of memory since it started. */
    readonly evictions: number;
    /** Seconds since it started, with nothing. */
    readonly uptime: number;
    /** False: it sees our connections under another address, so that an eviction cannot watch them end. */
    readonly seesOurAddress: boolean;
    /** Bytes of the largest item, its header included (`-I`). */
    readonly itemSizeMax: number;
  }[];
  /** Of some sessions, how many carry other flags than the preset's; null where memcached's clients are not served. */
  readonly flags: { readonly sampled: number; readonly other: number } | null;
  /** Of a pool whose client's rule is not known: old copies of sessions on other servers; null elsewhere. */
  readonly duplicates: number | null;
}

export type LegacySurvey = PostgresSurvey | MemcachedSurvey;

export interface RedisRights {
  /** The user we are; null where Redis has no users or does not tell. */
  readonly user: string | null;
  /** What it may not do, as words of an ACL rule: `+eval`, `~sess:*`. */
  readonly missing: readonly string[];
  /** Seals of other migrations in the same Redis, with the prefix that each holds. */
  readonly strangers: readonly { readonly migration: string; readonly prefix: string; readonly state: SealState }[];
}

export interface ControlRights {
  readonly version: string;
  readonly role: string;
  readonly database: string;
  /** Whether the schema `sessionferry` is there, or may be made. */
  readonly mayInstall: boolean;
}
