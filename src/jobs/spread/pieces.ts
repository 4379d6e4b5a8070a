import { z } from "zod";
import type { Sid } from "../../core/session.js";
import { FerryError } from "../../errors.js";
import type { Secrets } from "../secrets.js";

/** What lies in the queue. Ids are sealed; all the rest may be read by anybody. */

const count = z.int().nonnegative();

/** Under which a piece may be done: a worker that stands elsewhere refuses. */
const terms = z.object({
  /** The worker's routes must be those of this revision or a later one. */
  revision: z.int(),
  generation: z.string(),
  /** The identity of the legacy store. */
  legacy: z.string(),
});
export type Terms = z.infer<typeof terms>;

export const pieceSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("copy"), terms, sids: z.string(), force: z.boolean() }),
  z.object({
    kind: z.literal("examine"),
    terms,
    sids: z.string(),
    /** Which store listed them: of those from Redis only what the legacy store lacks is looked at. */
    side: z.enum(["legacy", "redis"]),
    ttlTolerance: z.number(),
    readOnly: z.boolean(),
  }),
]);
export type Piece = z.infer<typeof pieceSchema>;

/** `BackfillCounts`, as an answer. */
export const copiedSchema = z.object({
  copied: count,
  hit: count,
  dirty: count,
  absent: count,
  notYet: count,
  skipped: count,
  refused: count,
  failed: count,
});

const classes = z.record(z.string(), count);
const authority = z.enum(["L", "R"]);
const example = z.object({
  digest: z.string(),
  paths: z.array(z.string()).optional(),
  laterBy: z.number().nullable().optional(),
});

export const examinedSchema = z.object({
  /** R's generation as the worker knew it when it had looked at the last one. */
  generation: z.string(),
  notYet: count,
  /** As in `Looked`. */
  absent: count,
  counts: classes,
  authority: z.object({ L: count, R: count }),
  examples: z.record(z.string(), z.array(example)),
  /** Those that only R holds, by digest: R's listing may give one to several pieces. */
  onlyInRedis: z.array(z.object({ digest: z.string(), class: z.string(), authority })),
  /** What was said about planted sessions; each sid sealed. */
  planted: z.array(z.object({ sid: z.string(), class: z.string(), authority, later: z.number() })),
  /** Some that were equal, sealed, for the plain clients. */
  equal: z.string(),
});
export type Examined = z.infer<typeof examinedSchema>;

export function sealSids(secrets: Secrets, sids: readonly Sid[]): string {
  return secrets.seal(JSON.stringify(sids));
}

/** @throws FerryError GUARD_REFUSED where they were sealed with the key of another migration */
export function unsealSids(secrets: Secrets, sealed: string): Sid[] {
  const text = secrets.unseal(sealed);
  if (text !== null) return JSON.parse(text) as Sid[];
  throw new FerryError("GUARD_REFUSED", "A batch in the queue was sealed with another key.", {
    remedy:
      "Give every worker the same `migration` and `control.url`; restart workers that are older than the control record.",
  });
}
