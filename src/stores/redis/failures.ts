import { FerryError } from "../../errors.js";
import { RedisLost, RedisRefused, RedisUnreachable } from "../../ports/redis-records.js";
import { distrusted } from "../certificate.js";

/** A script's answer that R does not carry the expected seal: nothing was done. */
export class SealMismatch extends Error {
  override readonly name = "SealMismatch";
}

/** R lost a script (SCRIPT FLUSH, or a restart): nothing was done. */
export class ScriptUnknown extends Error {
  override readonly name = "ScriptUnknown";
}

/** A server's answer that the slot is another's: nothing was done. Not for those who call: the way there is found. */
export class Moved extends Error {
  override readonly name = "Moved";

  constructor(
    readonly slot: number,
    /** As the server calls it; without a host where that is its own. */
    readonly address: string,
    /** The slot is only on its way there, and the server is to be asked for this one command alone. */
    readonly asking: boolean,
  ) {
    super("The slot is another server's.");
  }
}

/** R will answer later; nothing was done. */
export class NotYet extends RedisUnreachable {
  constructor(readonly word: string) {
    super(`Redis does not answer yet (${word}).`, false);
  }
}

/** R answered something that is no answer to the question: whether it was carried out is not known. */
export class NoAnswer extends RedisUnreachable {
  constructor() {
    super("Redis gave no answer to the question.", true);
  }
}

/** Words by which R says that it takes no such command now, from this user, or on this server. */
const REFUSALS: Readonly<Record<string, string>> = {
  OOM: "it has no memory left",
  READONLY: "it is a read-only replica",
  NOPERM: "its user lacks a permission",
  NOAUTH: "it asks for a password",
  MISCONF: "it cannot save its data to disk",
  NOREPLICAS: "it has too few replicas",
};

/** Words by which R says that it will answer later; nothing was done. */
const BUSY = new Set(["LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY"]);

/**
 * What an error of the driver means to the protocol. The driver hangs the command's arguments on its errors, and some
 * of R's texts repeat them: session ids and values, which must reach no log. So nothing of the error is kept but the
 * word it begins with, and its text only where that holds none of the arguments.
 */
export function translate(error: unknown, args: readonly (string | Buffer | number)[]): Error {
  if (!isReplyError(error)) {
    return new RedisUnreachable("The connection to Redis broke before the answer came.", true);
  }
  const word = wordOf(error.message);
  if (word === "SFLOST") return new SealMismatch();
  if (word === "NOSCRIPT") return new ScriptUnknown();
  if (BUSY.has(word)) return new NotYet(word);
  const moved = /^(MOVED|ASK) (\d+) (\S+)/.exec(error.message);
  if (moved !== null) return new Moved(Number(moved[2]), moved[3]!, word === "ASK");
  const meaning = REFUSALS[word] ?? quotable(error.message, args);
  return new RedisRefused(`Redis refused a command: ${meaning} (${word}).`);
}

/** A failure of a call as the port tells it; whatever else went wrong did so over a reply of another shape. */
export function settled(error: unknown): Error {
  const known = [FerryError, RedisUnreachable, RedisLost, RedisRefused, SealMismatch, Moved];
  return known.some((kind) => error instanceof kind) ? (error as Error) : new NoAnswer();
}

/** The word that tells what kind of error it is. An error inside a script comes behind other words in some versions. */
function wordOf(message: string): string {
  const word = /^([A-Z]+)( |$)/.exec(message)?.[1] ?? "ERR";
  if (word !== "ERR") return word;
  if (message.includes("can't run this command")) return "NOPERM";
  return /-([A-Z]{3,}) /.exec(message)?.[1] ?? word;
}

function quotable(text: string, args: readonly (string | Buffer | number)[]): string {
  const message = text.replace(/ script: .*$/, "");
  const tells = args.some((arg) => typeof arg === "string" && arg.length > 3 && message.includes(arg));
  return tells || /with args beginning with/.test(message) ? "the text is withheld" : message.slice(0, 200);
}

export function isReplyError(error: unknown): error is Error {
  return error instanceof Error && error.name === "ReplyError";
}

/** Why a connection could not be made, without the driver's error, which may hold the arguments of AUTH. */
export function connectionFailure(error: unknown, shown: string): Error {
  if (error instanceof FerryError || error instanceof RedisRefused) return error;
  if (isReplyError(error) && /WRONGPASS|NOAUTH|invalid password|AUTH |unknown command .auth/i.test(error.message)) {
    return new FerryError("AUTHENTICATION_FAILED", `Redis at ${shown} refused the user or the password.`);
  }
  if (isReplyError(error)) {
    return new RedisRefused(`Redis at ${shown} refused the connection: ${quotable(error.message, [])}`);
  }
  const refused = distrusted(`Redis at ${shown}`, error, "redis.tls");
  if (refused !== null) return refused;
  const reason = error instanceof Error ? error.message || codeOf(error) : String(error);
  return new Error(`Redis at ${shown} cannot be reached: ${reason}`);
}

function codeOf(error: Error): string {
  const { code } = error as { code?: unknown };
  return typeof code === "string" ? code : error.name;
}
