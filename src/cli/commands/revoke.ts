import { open } from "node:fs/promises";
import pLimit from "p-limit";
import { FerryError } from "../../errors.js";
import { defineCommand } from "../command.js";
import { interrupted } from "../control.js";
import { toFailure } from "../failure.js";
import { withNode } from "../node.js";
import { dryRun, must, text } from "../options.js";
import type { Revoke } from "../schemas.js";
import { readSids } from "../stdin.js";

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
    const tally = { read: 0, revoked: 0, failed: 0 };
    let first: FerryError | null = null;
    if (dryRun) for await (const _ of ids) tally.read++;
    else {
      await withNode(context, async ({ ferry, legacy }) => {
        const limit = pLimit(AT_ONCE);
        const underWay = new Set<Promise<void>>();
        for await (const sid of ids) {
          if (context.signal.aborted) break;
          tally.read++;
          const done = limit(async () => {
            try {
              // Of a pool: where it is. Memcached need not be there any more.
              const [located = sid] = (await legacy.locate?.([sid]).catch(() => null)) ?? [sid];
              await ferry.destroy(located);
              tally.revoked++;
            } catch (error) {
              tally.failed++;
              first ??= toFailure(error, context.config());
            }
          }).finally(() => underWay.delete(done));
          underWay.add(done);
          if (underWay.size >= AHEAD) await Promise.race(underWay);
        }
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

async function openFile(path: string): Promise<NodeJS.ReadableStream> {
  try {
    return (await open(path)).createReadStream();
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? "error";
    throw new FerryError("USAGE", `--ids-from: the file cannot be read (${code})`);
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
