import { setTimeout as delay } from "node:timers/promises";
import { inspect } from "node:util";
import { FerryError } from "../../src/errors.js";
import { asFerryError } from "../../src/ferry/failures.js";
import { errorFields } from "../../src/observe/log.js";
import { NodeIdTaken } from "../../src/ports/control-store.js";

/** What must never be read by people: parts of session ids, values and passwords of these tests. */
export const SECRETS = { sid: "SecretOfSid", value: "SecretOfValue", password: "SecretOfPassword" } as const;

export function assertNoSecret(text: string, secrets: readonly string[] = Object.values(SECRETS)): void {
  const told = secrets.find((secret) => text.includes(secret));
  if (told !== undefined) throw new Error(`a text tells ${told}: ${text.slice(0, 2_000)}`);
}

/** An error that a caller may see: of the catalogue, and silent about what must not be read, its causes included. */
export function assertCatalogued(error: unknown): void {
  const known = error instanceof NodeIdTaken ? error : asFerryError(error);
  const ours = known instanceof NodeIdTaken || (known instanceof FerryError && known.code !== "UNEXPECTED");
  if (!ours) throw new Error(`not of the catalogue: ${inspect(error)}`);
  assertNoSecret(inspect(error, { depth: 8, showHidden: true }));
  assertNoSecret(inspect(known, { depth: 8, showHidden: true }));
  assertNoSecret(JSON.stringify(known));
  assertNoSecret(JSON.stringify(errorFields(error)));
}

/** No answer holds a number that is none, or a hole where something belongs. */
export function assertSound(answer: unknown, path = "the answer"): void {
  if (typeof answer === "number" && Number.isNaN(answer)) throw new Error(`${path} is not a number`);
  if (typeof answer === "string" && /\bundefined\b|\bNaN\b/.test(answer)) throw new Error(`${path} is ${answer}`);
  if (typeof answer !== "object" || answer === null || Buffer.isBuffer(answer)) return;
  for (const [key, value] of Object.entries(answer)) {
    if (value === undefined) throw new Error(`${path}.${key} is missing`);
    assertSound(value, `${path}.${key}`);
  }
}

/** Settles within so many milliseconds, or this rejects; an error must be one of the catalogue. */
export async function assertEnds<T>(work: Promise<T>, within: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing after ${within} ms`)), within);
  });
  const judged = work.then(
    (answer) => {
      assertSound(answer);
      return answer;
    },
    (error: unknown) => {
      assertCatalogued(error);
      return undefined;
    },
  );
  try {
    return await Promise.race([judged, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Collects what would have ended the process, or gone unheard, while a property runs. */
export class Unheard {
  readonly #found: unknown[] = [];
  readonly #note = (error: unknown) => void this.#found.push(error);

  listen(): void {
    process.on("uncaughtException", this.#note);
    process.on("unhandledRejection", this.#note);
  }

  /** Rejects with what was found since the last time. */
  async assertNone(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    const [first] = this.#found.splice(0);
    if (first !== undefined) throw new Error(`nobody heard: ${inspect(first)}`);
  }

  close(): void {
    process.removeListener("uncaughtException", this.#note);
    process.removeListener("unhandledRejection", this.#note);
  }
}

/** Whatever was broken, what is asked again until it is answered is answered soon. */
export async function recovers<T>(work: () => Promise<T>, within = 5_000): Promise<T> {
  for (const ends = Date.now() + within; ; ) {
    try {
      return await work();
    } catch (error) {
      assertCatalogued(error);
      if (Date.now() > ends) throw error;
      // A refusal may come at once, and must leave the others their turn.
      await delay(5);
    }
  }
}
