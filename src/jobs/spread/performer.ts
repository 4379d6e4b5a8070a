import { NO_COUNTS } from "../../core/backfill-state.js";
import { expiryTolerance } from "../../core/compare.js";
import type { Sid } from "../../core/session.js";
import { isSynthetic } from "../../core/synthetic.js";
import { FerryError } from "../../errors.js";
import type { Clock } from "../../ports/clock.js";
import type { Copier } from "../../ports/copier.js";
import { NO_JOURNAL } from "../../ports/destroy-journal.js";
import type { LegacyStore } from "../../ports/legacy-store.js";
import type { RedisRecords } from "../../ports/redis-records.js";
import { Copying } from "../copying.js";
import { Examiner, type Finding, onlyInRedis } from "../examiner.js";
import { Findings } from "../findings.js";
import { asCatalogued, Patience } from "../patience.js";
import type { Secrets } from "../secrets.js";
import { Tally } from "../tally.js";
import { type Examined, type Piece, pieceSchema, sealSids, type Terms, unsealSids } from "./pieces.js";

/** One node's part in jobs that are handed out: it does one piece, under the terms that the piece names. */
export interface PerformerDeps {
  readonly legacy: LegacyStore;
  readonly records: RedisRecords;
  readonly copier: Copier;
  readonly clock: Clock;
  readonly secrets: Secrets;
  /** The revision whose routes this node has taken. */
  readonly revision: () => number;
}

/** Milliseconds for which a worker waits for its routes before it gives the piece back. */
const CATCH_UP = 5_000;
const LOOK = 50;
/** A store that is away for longer has the piece given back: the queue tries it again, ten times in all. */
const PATIENCE = 5_000;
/** The identity of a legacy store is asked for again after so long. */
const IDENTITY_KEPT = 5_000;
/** So many that were found equal are told of each batch, for the plain clients. */
const EQUAL_TOLD = 8;

export class Performer {
  #identity: { readonly text: string; readonly until: number } | null = null;

  constructor(
    readonly deps: PerformerDeps,
    /** Breaks pieces off, which are then done by others. */
    readonly signal: AbortSignal,
  ) {}

  /** @throws FerryError OVERTAKEN where this node stands elsewhere than the piece asks */
  async perform(told: unknown): Promise<object> {
    const read = pieceSchema.safeParse(told);
    if (!read.success) throw new FerryError("PROTOCOL_MISMATCH", "A batch in the queue is of another release.");
    const piece = read.data;
    try {
      await this.#agree(piece.terms);
      const sids = unsealSids(this.deps.secrets, piece.sids);
      return piece.kind === "copy" ? await this.#copy(sids, piece.force) : await this.#examine(sids, piece);
    } catch (error) {
      throw asCatalogued(error);
    }
  }

  /** Rule 8: a settled step was acknowledged by this node too, so routes of that revision or later are what it holds. */
  async #agree({ revision, generation, legacy }: Terms): Promise<void> {
    const { clock, records } = this.deps;
    for (const until = clock.elapsed() + CATCH_UP; this.deps.revision() < revision; ) {
      if (clock.elapsed() > until)
        throw new FerryError("OVERTAKEN", "This worker does not know the newest routes yet.");
      await clock.sleep(LOOK, this.signal);
    }
    if (records.generation !== generation) {
      throw new FerryError("OVERTAKEN", "This worker trusts another generation of Redis than the batch was made for.");
    }
    if ((await this.#legacyIdentity()) !== legacy) {
      throw new FerryError(
        "OVERTAKEN",
        "This worker works on another legacy store than whoever handed the batch out.",
        {
          remedy: "Give all processes of the migration the same configuration.",
        },
      );
    }
  }

  async #legacyIdentity(): Promise<string> {
    const { legacy, clock } = this.deps;
    if (this.#identity === null || clock.elapsed() > this.#identity.until) {
      this.#identity = { text: await legacy.identity(), until: clock.elapsed() + IDENTITY_KEPT };
    }
    return this.#identity.text;
  }

  #patience(): Patience {
    return new Patience(this.deps.clock, PATIENCE, this.signal);
  }

  async #copy(sids: readonly Sid[], force: boolean): Promise<object> {
    const copying = new Copying({ ...this.deps, patience: this.#patience() }, NO_COUNTS);
    if (!(await copying.batch(sids, force))) throw brokenOff();
    return copying.counts;
  }

  async #examine(sids: readonly Sid[], piece: Extract<Piece, { kind: "examine" }>): Promise<Examined> {
    const { legacy, records, copier, clock, secrets } = this.deps;
    const { side, readOnly, ttlTolerance } = piece;
    const patience = this.#patience();
    const tally = new PieceTally(secrets);
    const planted: Finding[] = [];
    const planting = { owns: isSynthetic, observe: (finding: Finding) => void planted.push(finding) };
    const findings = new Findings({ legacy, records, copier, clock }, planting, tally, patience, {
      ...{ repair: null, readOnly, redisEvicts: false },
    });
    const tolerance = expiryTolerance(ttlTolerance, legacy.expiryGranularity);
    const examiner = new Examiner(
      { legacy, records, copier, journal: NO_JOURNAL, clock, patience },
      { batch: sids.length, tolerance },
      (found) => findings.take(found),
    );
    const meant = side === "legacy" ? sids : await onlyInRedis(sids, legacy, patience);
    const { notYet, absent } = await examiner.submit(meant);
    await examiner.finish();
    if (this.signal.aborted) throw brokenOff();
    const { counts, authority, examples } = tally.snapshot();
    return {
      generation: records.generation,
      notYet,
      absent,
      counts,
      authority,
      examples: examples as Examined["examples"],
      onlyInRedis: tally.onlyInRedis,
      planted: planted.map(({ sid, class: name, authority, later }) => ({
        ...{ sid: secrets.seal(sid), class: name, authority, later },
      })),
      equal: sealSids(secrets, someOf(tally.forWitness)),
    };
  }
}

/** Tells also which sessions only R holds, so that who handed the pieces out can see whether others met them too. */
class PieceTally extends Tally {
  readonly onlyInRedis: Examined["onlyInRedis"] = [];

  override isRepetition(finding: Finding): boolean {
    if (super.isRepetition(finding)) return true;
    const { sid, class: name, authority } = finding;
    if (Tally.mayRepeat(name)) this.onlyInRedis.push({ digest: this.secrets.digest(sid), class: name, authority });
    return false;
  }
}

/** The reservoir is filled in the order of the batch, so those from its beginning are as good as any. */
function someOf(sids: readonly Sid[]): Sid[] {
  const from = Math.floor(Math.random() * Math.max(1, sids.length - EQUAL_TOLD));
  return sids.slice(from, from + EQUAL_TOLD);
}

function brokenOff(): FerryError {
  return new FerryError("DEADLINE", "This worker is closing: another one takes the batch.");
}
