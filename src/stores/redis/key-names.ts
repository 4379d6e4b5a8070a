import { isUtf8 } from "node:buffer";
import { isLocated, located, restOf } from "../../core/place.js";
import type { Sid } from "../../core/session.js";
import { FerryError } from "../../errors.js";
import { SLOTS, slotOfKey, tagOf } from "./slots.js";

/** What begins like this is ours, whatever the prefix of the sessions is: marks and seals, and the control store. */
const RESERVED = ["sf:", "{sf:"];

/** Tells of a sid whether its own key, behind this prefix, would begin as ours do. */
export function reservedBehind(prefix: string): (sid: Sid) => boolean {
  if (!RESERVED.some((reserved) => reserved.startsWith(prefix))) return () => false;
  return (sid) => RESERVED.some((reserved) => (prefix + sid).startsWith(reserved));
}

/**
 * How keys are called in R; nothing else knows. A session's own key is the prefix with the sid, exactly as a plain
 * client of the target format reads it. All of ours begin with `sf:<migration>:`.
 *
 * In a Redis Cluster the session's own key says in which slot all keys of the session must lie. Ours begin with
 * `sf:<migration>:{tag}:` there, where the tag is a short text of that slot: it comes before whatever braces the sid may
 * have. Each slot has a seal and a dirty index of its own, since a script sees one slot only.
 */
export class KeyNames {
  /** A *slot* is what one script may work on, numbered from 0: a server by itself is one slot. */
  readonly slots: readonly number[];
  readonly #ours: string;
  readonly #bases: string[] = [];
  readonly #isReserved: (sid: Sid) => boolean;

  constructor(
    readonly prefix: string,
    readonly migration: string,
    /** Whether sessions have item keys: flags and tokens of memcached's clients. */
    readonly items = false,
    /** Servers of a pool, whose sids are located; 0 where they are not. */
    readonly servers = 0,
    /** Whether R is a Redis Cluster. */
    readonly cluster = false,
  ) {
    if (!/^[A-Za-z0-9_-]+$/.test(migration)) {
      throw new FerryError("CONFIG_INVALID", "`migration` must be of letters, digits, - and _ only.");
    }
    if (RESERVED.some((reserved) => prefix.startsWith(reserved))) {
      throw new FerryError("CONFIG_INVALID", "`redis.prefix` must not begin as sessionferry's own keys do (sf:).");
    }
    this.#isReserved = reservedBehind(prefix);
    this.slots = Array.from({ length: cluster ? SLOTS : 1 }, (_, slot) => slot);
    this.#ours = `sf:${migration}:`;
  }

  /** Refuses what `data` refuses, before such a sid is put together with those of others. */
  slotOf(sid: Sid): number {
    const rest = this.#restOf(sid);
    return this.cluster ? slotOfKey(this.prefix + rest) : 0;
  }

  /** Of any key, one of ours too. */
  slotOfKey(key: string | Buffer): number {
    return this.cluster ? slotOfKey(key) : 0;
  }

  seal(slot: number): string {
    return `${this.#base(slot)}seal`;
  }

  dirtyIndex(slot: number): string {
    return `${this.#base(slot)}dirty`;
  }

  /** All names under which the dirty index may have this session. */
  inIndex(sid: Sid): Sid[] {
    const rest = this.#restOf(sid);
    return [rest, ...Array.from({ length: this.servers }, (_, n) => located(n, rest))];
  }

  data(sid: Sid): string {
    return this.prefix + this.#restOf(sid);
  }

  #restOf(sid: Sid): string {
    const rest = this.servers === 0 ? sid : restOf(sid);
    if (this.#isReserved(rest)) {
      throw new FerryError("GUARD_REFUSED", "A session id must not begin as sessionferry's own keys do (sf:).");
    }
    return rest;
  }

  /** Of the session with this own key. */
  sideOf(data: string): string {
    return `${this.#base(this.slotOfKey(data))}s:${data}`;
  }

  itemOf(data: string): string {
    return `${this.#base(this.slotOfKey(data))}i:${data}`;
  }

  item(sid: Sid): string {
    return this.itemOf(this.data(sid));
  }

  /**
   * The keys of a script: seal, dirty index, then own key, sidecar and, with items, item key of each session; all of
   * them of this slot.
   */
  ofScript(slot: number, sids: readonly Sid[]): string[] {
    const base = this.#base(slot);
    const keys = [`${base}seal`, `${base}dirty`];
    for (const sid of sids) {
      const data = this.data(sid);
      keys.push(data, `${base}s:${data}`);
      if (this.items) keys.push(`${base}i:${data}`);
    }
    return keys;
  }

  /** MATCH patterns of SCAN. They may find more than is ours: `sidOfData` and `sidOfSide` decide. */
  get dataPattern(): string {
    return `${escapeGlob(this.prefix)}*`;
  }

  get sidePattern(): string {
    return this.#patternOf("s:");
  }

  get itemPattern(): string {
    return this.#patternOf("i:");
  }

  /** The sid of a session's own key, never a located one, or null for a key that is none. */
  sidOfData(key: Buffer): Sid | null {
    if (!isUtf8(key)) return null;
    const name = key.toString("utf8");
    if (!name.startsWith(this.prefix)) return null;
    const sid = name.slice(this.prefix.length);
    return this.#isReserved(sid) || (this.servers > 0 && isLocated(sid)) ? null : sid;
  }

  /** The sid of a sidecar, or null for a key that is none. */
  sidOfSide(key: Buffer): Sid | null {
    return this.#sidBehind("s:", key);
  }

  /** The sid of an item key, or null for a key that is none. */
  sidOfItem(key: Buffer): Sid | null {
    return this.#sidBehind("i:", key);
  }

  #patternOf(kind: string): string {
    const tag = this.cluster ? "{*}:" : "";
    return `${this.#ours}${tag}${escapeGlob(kind + this.prefix)}*`;
  }

  #sidBehind(kind: string, key: Buffer): Sid | null {
    const slot = this.slotOfKey(key);
    const before = Buffer.from(this.#base(slot) + kind);
    if (key.length < before.length || !key.subarray(0, before.length).equals(before)) return null;
    const data = key.subarray(before.length);
    return this.slotOfKey(data) === slot ? this.sidOfData(data) : null;
  }

  /** What all of ours of this slot begin with. */
  #base(slot: number): string {
    if (!this.cluster) return this.#ours;
    this.#bases[slot] ??= `${this.#ours}{${tagOf(slot)}}:`;
    return this.#bases[slot];
  }
}

function escapeGlob(text: string): string {
  return text.replace(/[*?[\]\\^]/g, "\\$&");
}
