import type { Routes } from "../core/phase.js";
import type { Sid } from "../core/session.js";
import type { CallLimits, RedisRecords } from "../ports/redis-records.js";

/**
 * `gap`: a write that L got without R. `closed`: an intent whose close got no reply. `opened`: an intent whose open got
 * none, and L was not written.
 */
type Kind = "gap" | "closed" | "opened";

interface Entry {
  kind: Kind;
  /** Whether the intent may stand, now or later: its open was sent. */
  readonly mayStand: boolean;
  /** Whether the write can no longer take effect on L. */
  settled: boolean;
}

interface Owed {
  readonly sid: Sid;
  readonly intent: string;
  readonly kind: Kind;
  readonly mayStand: boolean;
}

/** How many sids one flush step tells R about at once. */
const FLUSH_BATCH = 200;

/**
 * What this node still owes R. A *gap* entry (rule 7) is made before L is written without R: R may hold an older
 * value, so once the write has ended its intent, where one was sent, is closed with none (its open may have arrived
 * after all) and the sid is marked. A *stray intent* is one whose open or close got no reply: nobody but this node knows whether it stands,
 * so the node closes it (rule 6). Where L was not written the intent is withdrawn, and so it is in mode R: there an
 * intent that does not stand was closed properly, and v may be a copy that full-redis counts on.
 *
 * An entry is flushed only after its own L write ended: a mark that overtakes the write would be undone by a later
 * write whose close brings a value back while the first is still on its way to L.
 */
export class Arrears {
  readonly #entries = new Map<Sid, Map<string, Entry>>();
  #gaps = 0;

  /** Sids that were written without R and not yet marked. */
  get gapSize(): number {
    return this.#gaps;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Must be called before L is written. */
  openGap(sid: Sid, intent: string, mayStand: boolean): void {
    this.#add(sid, intent, { kind: "gap", mayStand, settled: false });
    this.#gaps++;
  }

  /** The gap's write has ended, well or badly. */
  settleGap(sid: Sid, intent: string): void {
    const entry = this.#entries.get(sid)?.get(intent);
    if (entry !== undefined) entry.settled = true;
  }

  strayIntent(sid: Sid, intent: string, kind: "opened" | "closed"): void {
    this.#add(sid, intent, { kind, mayStand: true, settled: true });
  }

  /**
   * True while the node owes R what a sid's routes do not allow: a gap entry without the gap liberty, or anything at
   * all once R is read. On the way down a gap is no hindrance: it dates from the rung that is being gone back to, and
   * nobody reads R on the rungs between, so a fleet that leaves an R that is away need not wait for it.
   */
  owesAgainst(routesOf: (sid: Sid) => Routes, { descending = false }: { descending?: boolean } = {}): boolean {
    for (const [sid, intents] of this.#entries) {
      const { liberty, read } = routesOf(sid);
      if (read !== "L") return true;
      if (descending || liberty === "gap") continue;
      if ([...intents.values()].some(({ kind }) => kind === "gap")) return true;
    }
    return false;
  }

  /**
   * Where L alone is written no value is owed any more: R's records go before the next ascent. Without this a rollback to
   * legacy would wait for good for a node that cannot reach R. An intent that may stand is another matter: its open may
   * reach R after the records have gone, and would stand for as long as this node lives. That is withdrawn.
   */
  forgive(routesOf: (sid: Sid) => Routes): void {
    for (const [sid, intents] of this.#entries) {
      if (routesOf(sid).write !== "legacy") continue;
      for (const [intent, entry] of intents) {
        if (!entry.settled) continue;
        if (!entry.mayStand) this.#remove(sid, intent);
        else if (entry.kind !== "opened") {
          if (entry.kind === "gap") this.#gaps--;
          entry.kind = "opened";
        }
      }
    }
  }

  /** Whether all that is owed are intents to be withdrawn where L alone is written: nobody looks for them there. */
  isForgiven(routesOf: (sid: Sid) => Routes): boolean {
    this.forgive(routesOf);
    return [...this.#entries.keys()].every((sid) => routesOf(sid).write === "legacy");
  }

  /** Tells R of everything that has settled. Rejects when R is away; what was not told stays owed. */
  async flush(records: RedisRecords, routesOf: (sid: Sid) => Routes, limits?: CallLimits): Promise<number> {
    let flushed = 0;
    for (;;) {
      const batch = this.#settledBatch();
      if (batch.length === 0) return flushed;
      const standing = batch.filter(({ mayStand }) => mayStand);
      await Promise.all(
        standing.map(({ sid, intent, kind }) => {
          const inModeL = routesOf(sid).write === "L";
          return records.close(sid, intent, { kind: kind === "opened" || !inModeL ? "withdraw" : "none" }, limits);
        }),
      );
      const gaps = batch.filter(({ kind }) => kind === "gap").map(({ sid }) => sid);
      if (gaps.length > 0) await records.mark([...new Set(gaps)]);
      for (const { sid, intent } of batch) this.#remove(sid, intent);
      flushed += batch.length;
    }
  }

  #settledBatch(): Owed[] {
    const batch: Owed[] = [];
    for (const [sid, intents] of this.#entries) {
      for (const [intent, { settled, ...entry }] of intents) if (settled) batch.push({ sid, intent, ...entry });
      if (batch.length >= FLUSH_BATCH) break;
    }
    return batch;
  }

  #add(sid: Sid, intent: string, entry: Entry): void {
    let intents = this.#entries.get(sid);
    if (intents === undefined) {
      intents = new Map();
      this.#entries.set(sid, intents);
    }
    intents.set(intent, entry);
  }

  #remove(sid: Sid, intent: string): void {
    const intents = this.#entries.get(sid);
    const entry = intents?.get(intent);
    if (intents === undefined || entry === undefined) return;
    intents.delete(intent);
    if (entry.kind === "gap") this.#gaps--;
    if (intents.size === 0) this.#entries.delete(sid);
  }
}
