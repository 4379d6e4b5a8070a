import { isUtf8 } from "node:buffer";
import { isLocated, restOf } from "../../core/place.js";
import type { Sid } from "../../core/session.js";
import { FerryError } from "../../errors.js";

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
 * This is the layout of a single server. A Redis Cluster needs one that puts a tag of the session's slot into the
 * sidecar's name and has a seal and a dirty index for each slot; so every name is asked for with the sid at hand, and
 * nobody else puts keys together.
 */
export class KeyNames {
  readonly #seal: string;
  readonly #dirty: string;
  readonly #sides: string;
  readonly #items: string;
  readonly #isReserved: (sid: Sid) => boolean;

  constructor(
    readonly prefix: string,
    readonly migration: string,
    /** Whether sessions have item keys: flags and tokens of memcached's clients. */
    readonly items = false,
    /** Servers of a pool, whose sids are located; 0 where they are not. */
    readonly servers = 0,
  ) {
    if (!/^[A-Za-z0-9_-]+$/.test(migration)) {
      throw new FerryError("CONFIG_INVALID", "`migration` must be of letters, digits, - and _ only.");
    }
    if (RESERVED.some((reserved) => prefix.startsWith(reserved))) {
      throw new FerryError("CONFIG_INVALID", "`redis.prefix` must not begin as sessionferry's own keys do (sf:).");
    }
    this.#isReserved = reservedBehind(prefix);
    this.#seal = `sf:${migration}:seal`;
    this.#dirty = `sf:${migration}:dirty`;
    this.#sides = `sf:${migration}:s:`;
    this.#items = `sf:${migration}:i:`;
  }

  seal(): string {
    return this.#seal;
  }

  dirtyIndex(): string {
    return this.#dirty;
  }

  data(sid: Sid): string {
    const rest = this.servers === 0 ? sid : restOf(sid);
    if (this.#isReserved(rest)) {
      throw new FerryError("GUARD_REFUSED", "A session id must not begin as sessionferry's own keys do (sf:).");
    }
    return this.prefix + rest;
  }

  /** Of the session with this own key. */
  sideOf(data: string): string {
    return this.#sides + data;
  }

  itemOf(data: string): string {
    return this.#items + data;
  }

  item(sid: Sid): string {
    return this.itemOf(this.data(sid));
  }

  /** The keys of a script: seal, dirty index, then own key, sidecar and, with items, item key of each session. */
  ofScript(sids: readonly Sid[]): string[] {
    const keys = [this.seal(), this.dirtyIndex()];
    for (const sid of sids) {
      const data = this.data(sid);
      keys.push(data, this.sideOf(data));
      if (this.items) keys.push(this.itemOf(data));
    }
    return keys;
  }

  /** MATCH patterns of SCAN. They may find more than is ours: `sidOfData` and `sidOfSide` decide. */
  get dataPattern(): string {
    return `${escapeGlob(this.prefix)}*`;
  }

  get sidePattern(): string {
    return `${escapeGlob(this.#sides + this.prefix)}*`;
  }

  get itemPattern(): string {
    return `${escapeGlob(this.#items + this.prefix)}*`;
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
    return this.#sidBehind(this.#sides, key);
  }

  /** The sid of an item key, or null for a key that is none. */
  sidOfItem(key: Buffer): Sid | null {
    return this.#sidBehind(this.#items, key);
  }

  #sidBehind(start: string, key: Buffer): Sid | null {
    const before = Buffer.from(start);
    if (key.length < before.length || !key.subarray(0, before.length).equals(before)) return null;
    return this.sidOfData(key.subarray(before.length));
  }
}

function escapeGlob(text: string): string {
  return text.replace(/[*?[\]\\^]/g, "\\$&");
}
