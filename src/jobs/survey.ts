import type { Sid } from "../core/session.js";
import type { LegacyStore } from "../ports/legacy-store.js";
import type { RedisRecords } from "../ports/redis-records.js";
import { inBatches, type Pace, pageSizeOf, patiently } from "./batches.js";
import type { Patience } from "./patience.js";
import { Reservoir } from "./reservoir.js";

/** What came of a look at a batch that L has listed. */
export interface Looked {
  /** Those whose buckets are not compared yet. */
  readonly notYet: number;
  /** Those that L does not hold, or not any more. */
  readonly absent: number;
}

/** Which sessions a check looks at, and in which order; what it sees in them is the business of `look`. */
export interface Survey {
  readonly legacy: LegacyStore;
  readonly records: RedisRecords;
  readonly patience: Patience;
  readonly pace: Pace;
  /** Always in a sample. */
  readonly chosen: (sid: Sid) => boolean;
  /** Neither looked at nor counted. */
  readonly ignored: (sid: Sid) => boolean;
  /** Looks at what L has listed; null if broken off. */
  readonly look: (sids: Sid[]) => Promise<Looked | null>;
  /** Of what R has listed, looks at what L does not hold. False if broken off. */
  readonly lookBeyond: (sids: Sid[]) => Promise<boolean>;
  readonly goOn: () => Promise<boolean>;
  /** So many more sids of either listing are behind us. */
  readonly progress: (more: number) => void;
}

export interface Surveyed {
  /** Sessions that L listed, but for those chosen and ignored. */
  readonly listed: number;
  readonly notYet: number;
  /** False when it was broken off. */
  readonly whole: boolean;
}

/**
 * All of L, compared with R; then of R whatever L does not hold. What is in R and in L was listed by L, or was written
 * while L was listed, by a write that is mirrored anyway.
 */
export async function compareAll(survey: Survey): Promise<Surveyed> {
  const { pace, look, lookBeyond, goOn, progress } = survey;
  let listed = 0;
  let notYet = 0;
  // The look at a session tells as well whether it is there.
  const fromLegacy = await inBatches(legacyPages(survey, { unverified: true }), pace, {
    goOn,
    run: async (batch) => {
      const looked = await look(batch);
      progress(batch.length);
      if (looked === null) return false;
      listed += batch.filter((sid) => !survey.chosen(sid)).length - looked.absent;
      notYet += looked.notYet;
      return true;
    },
  });
  if (!fromLegacy) return { listed, notYet, whole: false };
  const whole = await inBatches(redisPages(survey), pace, {
    goOn,
    run: async (batch) => {
      const done = await lookBeyond(batch);
      progress(batch.length);
      return done;
    },
  });
  return { listed, notYet, whole };
}

/** `size` random sessions of each side. Both listings are read whole, so the sample is uniform and the count honest. */
export async function compareSample(survey: Survey, size: number): Promise<Surveyed> {
  const { pace, look, goOn } = survey;
  const legacy = await draw(legacyPages(survey, { unverified: false }), survey, size);
  const redis = legacy.whole ? await draw(redisPages(survey), survey, size) : legacy;
  if (!redis.whole) return { listed: legacy.listed, notYet: 0, whole: false };
  let notYet = 0;
  const fromLegacy = new Set(legacy.sids);
  const sids = [...fromLegacy, ...redis.sids.filter((sid) => !fromLegacy.has(sid))];
  const whole = await inBatches(once(sids), pace, {
    goOn,
    run: async (batch) => {
      // Not `notYet += await ...`: that would read it before the other batches have added theirs.
      const looked = await look(batch);
      notYet += looked?.notYet ?? 0;
      return looked !== null;
    },
  });
  return { listed: legacy.listed, notYet, whole };
}

async function draw(
  pages: AsyncIterable<Sid[]>,
  survey: Survey,
  size: number,
): Promise<{ sids: Sid[]; listed: number; whole: boolean }> {
  const sample = new Reservoir<Sid>(size);
  const chosen: Sid[] = [];
  let listed = 0;
  for await (const page of pages) {
    if (!(await survey.goOn())) return { sids: [], listed, whole: false };
    for (const sid of page) {
      if (survey.chosen(sid)) chosen.push(sid);
      else {
        listed++;
        sample.add(sid);
      }
    }
    survey.progress(page.length);
  }
  return { sids: [...new Set([...chosen, ...sample.items])], listed, whole: true };
}

function legacyPages(survey: Survey, { unverified }: { unverified: boolean }): AsyncIterable<Sid[]> {
  const { legacy, patience, pace } = survey;
  const pageSize = pageSizeOf(pace);
  const list = (after: Sid | undefined) => legacy.list({ pageSize, unverified, ...(after !== undefined && { after }) });
  return without(patiently(list, undefined, patience), survey.ignored);
}

function redisPages(survey: Survey): AsyncIterable<Sid[]> {
  const { records, patience, pace } = survey;
  // R's listing has no place to go on from: after an outage it begins anew, and repetitions are told by their findings.
  const list = () => records.listRecords({ pageSize: pageSizeOf(pace) });
  return without(patiently(list, undefined, patience), survey.ignored);
}

async function* without(pages: AsyncIterable<Sid[]>, ignored: (sid: Sid) => boolean): AsyncIterable<Sid[]> {
  for await (const page of pages) yield page.filter((sid) => !ignored(sid));
}

async function* once(sids: Sid[]): AsyncIterable<Sid[]> {
  yield sids;
}
