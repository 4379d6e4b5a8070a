import type { Sid } from "../core/session.js";
import type { RedisRecords } from "../ports/redis-records.js";

interface Entry {
  /** True for a write that L got without R (a gap), false for an intent that only has to be closed. */
  readonly gap: boolean;
  /** Whether the write can no longer take effect on L. */
  settled: boolean;
}

/** How many sids one flush step tells R about at once. */
const FLUSH_BATCH = 200;

/**
 * What this node still owes R. A *gap* entry (rule 7) is made before L is written without R: R may hold an older
 * value, so once the write has ended its intent is closed with none (its open may have arrived after all) and the sid
 * is marked. A *stray intent* is one whose open or close got no reply: nobody but this node knows whether it stands,
 * so the node closes it with none (rule 6).
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
  openGap(sid: Sid, intent: string): void {
    this.#add(sid, intent, { gap: true, settled: false });
    this.#gaps++;
  }

  /** The gap's write has ended, well or badly. */
  settleGap(sid: Sid, intent: string): void {
    const entry = this.#entries.get(sid)?.get(intent);
    if (entry !== undefined) entry.settled = true;
  }

  strayIntent(sid: Sid, intent: string): void {
    this.#add(sid, intent, { gap: false, settled: true });
  }

  /** True while a gap entry is left of a sid that the predicate names. */
  hasGapWhere(forbidden: (sid: Sid) => boolean): boolean {
    if (this.#gaps === 0) return false;
    for (const [sid, intents] of this.#entries) {
      for (const entry of intents.values()) {
        if (entry.gap && forbidden(sid)) return true;
      }
    }
    return false;
  }

  /** Tells R of everything that has settled. Rejects when R is away; what was not told stays owed. */
  async flush(records: RedisRecords): Promise<number> {
    let flushed = 0;
    for (;;) {
      const batch = this.#settledBatch();
      if (batch.length === 0) return flushed;
      await Promise.all(
        batch.flatMap(({ sid, intents }) => intents.map((intent) => records.close(sid, intent, { kind: "none" }))),
      );
      const gaps = batch.filter((owed) => owed.gap).map((owed) => owed.sid);
      if (gaps.length > 0) await records.mark(gaps);
      for (const { sid, intents } of batch) this.#remove(sid, intents);
      flushed += batch.length;
    }
  }

  #settledBatch(): { sid: Sid; intents: string[]; gap: boolean }[] {
    const batch: { sid: Sid; intents: string[]; gap: boolean }[] = [];
    for (const [sid, entries] of this.#entries) {
      const settled = [...entries].filter(([, entry]) => entry.settled);
      if (settled.length === 0) continue;
      batch.push({ sid, intents: settled.map(([id]) => id), gap: settled.some(([, entry]) => entry.gap) });
      if (batch.length === FLUSH_BATCH) break;
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

  #remove(sid: Sid, intents: readonly string[]): void {
    const entries = this.#entries.get(sid);
    if (entries === undefined) return;
    for (const intent of intents) {
      if (entries.get(intent)?.gap) this.#gaps--;
      entries.delete(intent);
    }
    if (entries.size === 0) this.#entries.delete(sid);
  }
}
