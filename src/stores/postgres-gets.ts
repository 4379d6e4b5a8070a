import type { Session, Sid } from "../core/session.js";
import { LegacyUnreachable } from "../ports/legacy-store.js";
import type { PostgresLink } from "./postgres-link.js";

export interface Row {
  readonly sid?: string;
  readonly value: string;
  readonly expires_at: number;
}

interface Asked {
  readonly sid: Sid;
  /** By our monotonic clock. */
  readonly until: number;
  resolve(session: Session | null): void;
  reject(error: unknown): void;
}

/** Sessions in one statement at most: the other connections shall have something to do, too. */
const MOST = 20;

/**
 * Reads of one session each. A connection that is free takes one at once. What is asked for while all of them are at work
 * goes together, with the next that comes free: one statement for twenty sessions costs both sides little more than for
 * one. That is safe for reads alone: they wait for no lock, so that none of them holds up another, and the statement
 * begins after all of them were asked for.
 */
export class PostgresGets {
  readonly #asked: Asked[] = [];
  /** A statement waits for its connection, and takes along what is asked for until then. */
  #waits = false;

  /** @param deadline milliseconds for each */
  constructor(
    private readonly link: PostgresLink,
    private readonly deadline: number,
  ) {}

  get(sid: Sid): Promise<Session | null> {
    if (this.link.isFree) return this.#alone(sid, this.deadline);
    return new Promise((resolve, reject) => {
      this.#asked.push({ sid, until: performance.now() + this.deadline, resolve, reject });
      if (!this.#waits) void this.#together();
    });
  }

  async #alone(sid: Sid, deadline: number): Promise<Session | null> {
    const [row] = await this.link.read<Row>((s) => s.get, [sid], deadline);
    return row === undefined ? null : toSession(row);
  }

  async #together(): Promise<void> {
    this.#waits = true;
    const until = this.#asked[0]!.until;
    let these: Asked[] | null = null;
    try {
      const rows = await this.link.read<Row>(
        (statements) => {
          these ??= this.#drawn();
          return these.length === 1 ? statements.get : statements.getMany;
        },
        () => (these!.length === 1 ? [these![0]!.sid] : [these!.map(({ sid }) => sid)]),
        Math.max(1, until - performance.now()),
      );
      this.#answer(these!, rows);
    } catch (error) {
      this.#failed(these ?? this.#drawn(), error);
    }
  }

  #drawn(): Asked[] {
    const these = this.#asked.splice(0, MOST);
    this.#waits = false;
    if (this.#asked.length > 0) void this.#together();
    return these;
  }

  #answer(these: readonly Asked[], rows: readonly Row[]): void {
    if (these.length === 1) {
      these[0]!.resolve(rows[0] === undefined ? null : toSession(rows[0]));
      return;
    }
    const found = new Map(rows.map((row) => [row.sid, row]));
    for (const { sid, resolve } of these) {
      const row = found.get(sid);
      resolve(row === undefined ? null : toSession(row));
    }
  }

  /**
   * What PostgreSQL refuses may be the fault of one of them. What ran out of time did so by the deadline of the one that
   * was asked for first; whoever came later has some left.
   */
  #failed(these: readonly Asked[], error: unknown): void {
    const mayGoAlone = these.length > 1 && !(error instanceof LegacyUnreachable);
    const now = performance.now();
    const first = these[0]!.until;
    for (const { sid, until, resolve, reject } of these) {
      if (mayGoAlone || (now >= first && now < until)) this.#alone(sid, until - now).then(resolve, reject);
      else reject(error);
    }
  }
}

export function toSession(row: Row): Session {
  // Microseconds become milliseconds here; an infinite expiry stays what it is.
  return { value: Buffer.from(row.value, "utf8"), flags: 0, expiresAt: Math.round(row.expires_at) };
}
