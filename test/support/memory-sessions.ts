import { isLive, type Session, type Sid } from "../../src/core/session.js";
import type { SessionDefaults, Sessions } from "../../src/ports/sessions.js";

/**
 * `Sessions` over a Map, for the tests of the doors: real bytes, real expiries, asynchronous answers. It keeps the
 * list of calls, and fails the next call of a verb when told to.
 */
export class MemorySessions implements Sessions {
  readonly records = new Map<Sid, Session>();
  readonly calls: string[] = [];
  readonly #failures = new Map<string, unknown>();

  constructor(readonly defaults?: SessionDefaults) {}

  failNext(verb: "get" | "set" | "touch" | "destroy" | "list", error: unknown): void {
    this.#failures.set(verb, error);
  }

  async get(sid: Sid): Promise<Session | null> {
    await this.#called("get");
    const session = this.#live(sid);
    return session && { ...session, value: Buffer.from(session.value) };
  }

  async set(sid: Sid, session: Session): Promise<void> {
    const copy = { ...session, value: Buffer.from(session.value) };
    await this.#called("set");
    this.records.set(sid, copy);
  }

  async touch(sid: Sid, expiresAt: number): Promise<boolean> {
    await this.#called("touch");
    const session = this.#live(sid);
    if (session !== null) this.records.set(sid, { ...session, expiresAt });
    return session !== null;
  }

  async destroy(sid: Sid): Promise<void> {
    await this.#called("destroy");
    this.records.delete(sid);
  }

  async *list(options: { pageSize: number; signal?: AbortSignal }): AsyncIterable<Sid[]> {
    await this.#called("list");
    let page: Sid[] = [];
    for (const sid of [...this.records.keys()]) {
      if (this.#live(sid) === null) continue;
      page.push(sid);
      if (page.length === options.pageSize) {
        yield page;
        page = [];
      }
    }
    if (page.length > 0) yield page;
  }

  #live(sid: Sid): Session | null {
    const session = this.records.get(sid) ?? null;
    return isLive(session, Date.now()) ? session : null;
  }

  async #called(verb: string): Promise<void> {
    this.calls.push(verb);
    await new Promise((resolve) => setImmediate(resolve));
    if (this.#failures.has(verb)) {
      const error = this.#failures.get(verb);
      this.#failures.delete(verb);
      throw error;
    }
  }
}
