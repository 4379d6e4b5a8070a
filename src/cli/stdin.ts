import { createInterface } from "node:readline";
import { FerryError } from "../errors.js";
import type { Context } from "./command.js";
import { isTerminal } from "./terminal.js";

/** The longest line that can be a session id or a cookie with one. */
const LONGEST = 4096;

const ONE_A_LINE = "Name a file that this user may read, or a pipe, with one session id on each line.";

/**
 * Session ids from stdin, one a line. They are credentials, so they come this way and never as an argument, which
 * other users of the machine could read.
 * @throws FerryError USAGE where they cannot be read, or a line is none
 */
export async function* readSids({ stdin, signal, output }: Context): AsyncIterable<string> {
  if (isTerminal(stdin)) output.log("Type the session id, then Enter (Ctrl-D to end):");
  const lines = createInterface({ input: stdin, signal, crlfDelay: Number.POSITIVE_INFINITY });
  let count = 0;
  try {
    for await (const line of lines) {
      count++;
      const text = line.trim();
      if (text === "") continue;
      if (text.length > LONGEST) {
        throw new FerryError("USAGE", `Line ${count} is too long to be a session id.`, { remedy: ONE_A_LINE });
      }
      yield sidOf(text);
    }
  } catch (error) {
    throw signal.aborted ? error : unreadable(error);
  } finally {
    lines.close();
  }
}

/** What keeps ids from being read, as an error of the catalogue. */
export function unreadable(error: unknown): FerryError {
  if (error instanceof FerryError) return error;
  const code = (error as NodeJS.ErrnoException).code ?? "error";
  return new FerryError("USAGE", `the session ids cannot be read (${code})`, { remedy: ONE_A_LINE, cause: error });
}

/** The first id on stdin. @throws FerryError USAGE where there is none */
export async function readOneSid(context: Context): Promise<string> {
  for await (const sid of readSids(context)) return sid;
  throw new FerryError("USAGE", "There is no session id on stdin.", {
    remedy: "Write it there, on a line of its own.",
  });
}

/** People copy what a browser shows: of a signed cookie of express-session, `s:ID.SIGNATURE`, the id is taken. */
function sidOf(text: string): string {
  const cookie = /^s(?::|%3A)(.+)\.[^.]+$/i.exec(text)?.[1];
  return cookie ?? text;
}
