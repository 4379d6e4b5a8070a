import { randomUUID } from "node:crypto";
import type session from "express-session";
import type { Session } from "../../src/core/session.js";

export const HOUR = 3_600_000;

export function aSession(content: unknown = { n: 1 }, life = HOUR): Session {
  return { value: Buffer.from(JSON.stringify(content)), flags: 0, expiresAt: Date.now() + life };
}

export const newSid = () => `sid-${randomUUID()}`;

/** What a promise was rejected with; a test that fails before it asks is not to fail twice. */
export function rejection(promise: Promise<unknown>): Promise<Error> {
  const rejected = promise.then(
    () => {
      throw new Error("it was not rejected");
    },
    (error: unknown) => {
      if (error instanceof Error) return error;
      throw new Error("it was rejected with something else than an error");
    },
  );
  rejected.catch(() => {});
  return rejected;
}

/** Milliseconds that a promise takes, fulfilled or not. */
export async function duration(promise: Promise<unknown>): Promise<number> {
  const start = performance.now();
  await promise.catch(() => {});
  return performance.now() - start;
}

/** A session store of express-session, by promises. */
export function promised(store: session.Store) {
  const call = <T>(run: (done: (error?: unknown, value?: T) => void) => void) =>
    new Promise<T | undefined>((resolve, reject) => {
      run((error, value) => (error ? reject(error) : resolve(value)));
    });
  return {
    get: async (sid: string) => (await call<session.SessionData | null>((done) => store.get(sid, done))) ?? null,
    set: (sid: string, data: object) => call((done) => store.set(sid, data as session.SessionData, done)),
    touch: (sid: string, data: object) =>
      call((done) => store.touch!(sid, data as session.SessionData, done as () => void)),
    destroy: (sid: string) => call((done) => store.destroy(sid, done)),
  };
}
