import { open, stat } from "node:fs/promises";
import pLimit from "p-limit";
import type { Sid } from "../../core/session.js";
import { FerryError } from "../../errors.js";
import { defineCommand } from "../command.js";
import { interrupted, withControl } from "../control.js";
import { toFailure } from "../failure.js";
import { withNode } from "../node.js";
import { dryRun, must, text } from "../options.js";
import type { Revoke } from "../schemas.js";
import { readSids, unreadable } from "../stdin.js";

/** Destroys under way at once. */
const AT_ONCE = 16;
/** Ids waiting in memory at most. */
const AHEAD = 1_000;

export const command = defineCommand({
  options: {
    idsFrom: must(text("Where the session ids come from, one a line: a file, or - for stdin.", "FILE")),
    dryRun,
  },
  examples: [
    ["$0 revoke --ids-from - < ids.txt", "Log these sessions out, in both stores, by the protocol"],
    ["$0 revoke --ids-from ids.txt --dry-run", "Count the ids"],
  ],
  async run(context, { idsFrom, dryRun }) {
    const ids = readSids(idsFrom === "-" ? context : { ...context, stdin: await openFile(idsFrom) });
    const tally = { read: 0, revoked: 0 };
    let first: FerryError | null = null;
    if (dryRun) {
      // It ends as the real one would: without a configuration or a migration there is nothing to revoke.
      await withControl(context, (control) => control.read());
      for await (const _ of ids) tally.read++;
    } else {
      await withNode(context, async ({ ferry, legacy }) => {
        const limit = pLimit(AT_ONCE);
        const underWay = new Set<Promise<void>>();
        const fail = (error: unknown): void => {
          first ??= toFailure(error, context.config());
        };
        const destroy = async (sid: Sid): Promise<void> => {
          // Of a pool: where it is. Memcached need not be there any more.
          const [located = sid] = (await legacy.locate?.([sid]).catch(() => null)) ?? [sid];
          await ferry.destroy(located);
          tally.revoked++;
        };
        try {
          for await (const sid of ids) {
            if (context.signal.aborted) break;
            tally.read++;
            const done = limit(() => destroy(sid).catch(fail)).finally(() => underWay.delete(done));
            underWay.add(done);
            if (underWay.size >= AHEAD) await Promise.race(underWay);
          }
        } catch (error) {
          fail(error);
        }
        // However the reading ended, what it has begun is told.
        await Promise.all(underWay);
      });
    }
    const told = `${tally.revoked} of ${tally.read} sessions were destroyed`;
    if (first !== null) throw failure(first, told);
    if (context.signal.aborted) throw failure(interrupted(), told);
    const json: Revoke = { dryRun, read: tally.read, revoked: tally.revoked };
    return { json, text: dryRun ? `${tally.read} ids. Nothing was changed (--dry-run).` : `${told}.` };
  },
});

/** A folder can be opened, too, and fails only once it is read. */
async function openFile(path: string): Promise<NodeJS.ReadableStream> {
  try {
    if ((await stat(path)).isDirectory()) throw Object.assign(new Error("a folder"), { code: "EISDIR" });
    return (await open(path)).createReadStream();
  } catch (error) {
    throw unreadable(error);
  }
}

/** A destroy may be repeated: whoever repeats the command with the same ids loses nothing. */
function failure({ code, message, remedy, cause }: FerryError, changed: string): FerryError {
  return new FerryError(code, message, {
    remedy: `${remedy} Then repeat the command with the same ids.`,
    changed,
    cause,
  });
}
