import { PLANTED_KINDS, type PlantedKind } from "../core/check-result.js";
import { type Authority, authorityOf, type DifferenceClass } from "../core/compare.js";
import type { IdSource } from "../core/ids.js";
import type { Session, Sid } from "../core/session.js";
import { newSyntheticSid } from "../core/synthetic.js";
import type { Clock } from "../ports/clock.js";
import type { Copier } from "../ports/copier.js";
import type { LegacyStore } from "../ports/legacy-store.js";
import type { RedisRecords } from "../ports/redis-records.js";
import type { Finding } from "./examiner.js";

/** Milliseconds. What a crash leaves behind is gone after the long life; a long run renews it while it goes. */
const LONG_LIFE = 120_000;
const SHORT_LIFE = 60_000;
const RENEW_EVERY = 20_000;
/** At 1 % of dual-write a sid fits once in a hundred draws. */
const MAX_DRAWS = 20_000;

export interface PlantDeps {
  readonly legacy: LegacyStore;
  readonly records: RedisRecords;
  readonly copier: Copier;
  readonly clock: Clock;
  readonly ids: IdSource;
}

interface Plant {
  readonly kind: PlantedKind;
  readonly sid: Sid;
  found: boolean;
}

/**
 * Five faults of our own making, one of every sort that a check must find, put into both stores under ids that no
 * application makes. A check that misses one has missed who knows what else: a wrong table, a wrong prefix, a
 * comparison that compares a store with itself.
 *
 * | planted      | L holds it     | R holds it     | found where L is authority | where R is       |
 * | ------------ | -------------- | -------------- | -------------------------- | ---------------- |
 * | `missing`    | yes            | no             | `missing`                  | `leftover`       |
 * | `mismatched` | yes            | another value  | `mismatched`               | `mismatched`     |
 * | `early`      | yes            | dies earlier   | `expiry`, earlier          | `expiry`, earlier |
 * | `late`       | yes            | dies later     | `expiry`, later            | `expiry`, later  |
 * | `destroyed`  | no             | yes            | `resurrected`; `extra` where L may lose sessions | `behind` |
 *
 * R's side is written by a lease and a fill, as any copy is, so no mark stands and nobody drains, sweeps or pushes it.
 */
export class Planting {
  #plants: Plant[] = [];
  readonly #ended = new AbortController();
  #renewing: Promise<void> = Promise.resolve();

  constructor(
    readonly deps: PlantDeps,
    readonly options: { readonly tolerance: number; readonly flags: number },
  ) {}

  get planted(): number {
    return this.#plants.length;
  }

  get found(): number {
    return this.#plants.filter((plant) => plant.found).length;
  }

  get missed(): PlantedKind[] {
    return this.#plants.filter((plant) => !plant.found).map((plant) => plant.kind);
  }

  owns(sid: Sid): boolean {
    return this.#plants.some((plant) => plant.sid === sid);
  }

  /** May be repeated where a store failed in the midst of it: each fault is planted once. */
  async plant(): Promise<void> {
    for (const kind of PLANTED_KINDS) {
      const plant = this.#plants.find((known) => known.kind === kind) ?? (await this.#add(kind));
      if (plant === null) return;
      await this.#write(plant);
    }
    this.#renewing = this.#renew();
  }

  /** Listed first, so that it is removed even if planting it stops half-way. Null where no sid can be planted. */
  async #add(kind: PlantedKind): Promise<Plant | null> {
    const drawn = this.#draw();
    if (drawn === null) return null;
    // In a pool a session is on some server.
    const [sid = drawn] = (await this.deps.legacy.locate?.([drawn])) ?? [drawn];
    const plant = { kind, sid, found: false };
    this.#plants.push(plant);
    return plant;
  }

  /** Takes note of what the check says about a planted session. */
  observe(finding: Finding): void {
    const plant = this.#plants.find(({ sid }) => sid === finding.sid);
    if (plant !== undefined && isWhatWasPlanted(plant.kind, finding, this.deps.legacy.lossy)) plant.found = true;
  }

  /** Never rejects: what cannot be removed dies by itself within two minutes. */
  async remove(): Promise<void> {
    this.#ended.abort();
    await this.#renewing;
    const { legacy, records } = this.deps;
    const sids = this.#plants.map(({ sid }) => sid);
    await Promise.allSettled([...sids.map((sid) => legacy.destroy(sid)), records.mark(sids)]);
  }

  #draw(): Sid | null {
    for (let draws = 0; draws < MAX_DRAWS; draws++) {
      const sid = newSyntheticSid();
      if (authorityOf(this.deps.copier.placement(sid)) !== null) return sid;
    }
    return null;
  }

  async #renew(): Promise<void> {
    const { signal } = this.#ended;
    for (;;) {
      await this.deps.clock.sleep(RENEW_EVERY, signal);
      if (signal.aborted) return;
      for (const plant of this.#plants) {
        // A store that is away costs the run a planted fault, and with it its worth as evidence; nothing else.
        if (!plant.found && !signal.aborted) await this.#write(plant).catch(() => {});
      }
    }
  }

  async #write({ kind, sid }: Plant): Promise<void> {
    const now = this.deps.clock.now();
    const long = now + Math.max(LONG_LIFE, SHORT_LIFE + 2 * this.options.tolerance);
    const short = now + SHORT_LIFE;
    const { flags } = this.options;
    const value = plantedValue("planted", long);
    const inLegacy: Session | null =
      kind === "destroyed" ? null : { value, flags, expiresAt: kind === "late" ? short : long };
    const inRedis: Session | null =
      kind === "missing"
        ? null
        : {
            value: kind === "mismatched" ? plantedValue("differs", long) : value,
            flags,
            expiresAt: kind === "early" ? short : long,
          };
    await this.#fill(sid, inRedis);
    if (inLegacy !== null) await this.deps.legacy.set(sid, inLegacy);
  }

  async #fill(sid: Sid, session: Session | null): Promise<void> {
    const { records, ids } = this.deps;
    if (session === null) return;
    await records.mark([sid]);
    const answer = await records.read(sid, ids.next());
    if (answer.from === "L" && answer.lease !== null) await records.fill(sid, answer.lease, session);
  }
}

/** Looks like a session of the usual Node formats, so that an application that lists its sessions is not upset. */
function plantedValue(mark: string, expiresAt: number): Buffer {
  const cookie = { originalMaxAge: LONG_LIFE, expires: new Date(expiresAt).toISOString(), httpOnly: true, path: "/" };
  return Buffer.from(JSON.stringify({ cookie, sessionferry: mark }));
}

function isWhatWasPlanted(kind: PlantedKind, finding: Finding, lossy: boolean): boolean {
  const { authority } = finding;
  const expected: Record<PlantedKind, Record<Authority, DifferenceClass>> = {
    missing: { L: "missing", R: "leftover" },
    mismatched: { L: "mismatched", R: "mismatched" },
    early: { L: "expiry", R: "expiry" },
    late: { L: "expiry", R: "expiry" },
    destroyed: { L: lossy ? "extra" : "resurrected", R: "behind" },
  };
  if (finding.class !== expected[kind][authority]) return false;
  if (kind === "early") return finding.later < 0;
  return kind !== "late" || finding.later > 0;
}
