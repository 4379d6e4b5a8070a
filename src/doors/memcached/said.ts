import type { Failure, Quit, Said } from "./commands.js";

/** Answers that are known before anything is asked. */
export function said(text: string): Said {
  return { kind: "said", size: text.length, answer: (out) => out.text(text) };
}

const memo = new Map<string, Said>();

/** The same, for the few texts that many commands have. */
export function line(text: string): Said {
  let found = memo.get(text);
  if (found === undefined) {
    found = said(`${text}\r\n`);
    memo.set(text, found);
  }
  return found;
}

export const NOTHING: Said = { kind: "said", size: 0, answer: () => {} };

/** The client speaks no memcached: the connection ends without a word. */
export const MALFORMED: Quit = { kind: "quit", size: 0, malformed: true, answer: () => {} };
export const QUIT: Quit = { kind: "quit", size: 0, malformed: false, answer: () => {} };

export const BAD_LINE = "CLIENT_ERROR bad command line format";

/** The line of an error for a text client. */
export function lineOf({ kind, code }: Failure): string {
  if (kind === "too-large") return "SERVER_ERROR object too large for cache\r\n";
  if (kind === "memory") return "SERVER_ERROR out of memory storing object\r\n";
  if (kind === "key") return "CLIENT_ERROR bad command line format\r\n";
  return kind === "later" ? `SERVER_ERROR temporary failure ${code}\r\n` : `SERVER_ERROR failure ${code}\r\n`;
}
