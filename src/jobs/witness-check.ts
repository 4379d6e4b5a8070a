import type { WitnessTally } from "../core/check-result.js";
import { stood } from "../core/compare.js";
import { compareValues } from "../core/json-diff.js";
import type { Sid } from "../core/session.js";
import type { Clock } from "../ports/clock.js";
import type { RedisRecords } from "../ports/redis-records.js";
import type { LegacyWitness } from "../ports/witness.js";

const MAX_TRIES = 4;
const PAUSE = 150;
const AT_ONCE = 8;

/** Plain clients of both sides: what the old application reads with, and what the new one will. */
export interface Witnesses {
  readonly legacy: Pick<LegacyWitness, "get">;
  readonly redis: Pick<LegacyWitness, "get">;
}

type Word = "agreed" | "disagreed" | "unsettled";

/**
 * Reads sessions that the check found equal once more, with clients that share no code with our stores. They must
 * agree: a check that reads the wrong table in both its eyes would find everything equal.
 */
export async function hearWitnesses(
  sids: readonly Sid[],
  witnesses: Witnesses,
  records: RedisRecords,
  clock: Clock,
): Promise<WitnessTally> {
  const tally = { read: 0, agreed: 0, disagreed: 0, unsettled: 0 };
  const queue = [...sids];
  const worker = async () => {
    for (let sid = queue.pop(); sid !== undefined; sid = queue.pop()) {
      tally.read++;
      const word = await ask(sid, witnesses, records, clock);
      tally[word]++;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return tally;
}

async function ask(sid: Sid, witnesses: Witnesses, records: RedisRecords, clock: Clock): Promise<Word> {
  let disagreed = 0;
  for (let tries = 1; tries <= MAX_TRIES; tries++) {
    if (tries > 1) await clock.sleep(PAUSE * tries);
    const [before] = await records.view([sid]);
    // A plain client that fails has nothing to say; whether too few had is judged by the tally.
    const words = await Promise.all([witnesses.legacy.get(sid), witnesses.redis.get(sid)]).catch(() => null);
    if (words === null) continue;
    const [legacy, redis] = words;
    const [after] = await records.view([sid]);
    // While a mark stands one store is ahead of the other by right, however long it stands still.
    const still = stood(before!, after!) && after!.mark !== "dirty" && after!.mark !== "intents";
    // Gone from R by its own word: logged out or expired since it was found equal, or dropped by a close with none, and
    // then the next read copies it. That says nothing about what the clients can see.
    if (redis === null && after!.session === null) return "unsettled";
    if (legacy !== null && redis !== null && compareValues(legacy, redis).equal) return "agreed";
    // As in the check itself, only two disagreements over records that stood still are believed.
    if (still && ++disagreed >= 2) return "disagreed";
  }
  return "unsettled";
}
