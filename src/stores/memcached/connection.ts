import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { FerryError } from "../../errors.js";
import type { Fence } from "../../ports/fence.js";
import { LegacyUnreachable } from "../../ports/legacy-store.js";
import { distrusted } from "../certificate.js";
import { LATE, within } from "../deadline.js";
import { endpointOf, endpointsIn, hidden } from "./endpoints.js";
import {
  type Command,
  encode,
  isNoNumber,
  isRefusal,
  MOST_LINES,
  type Reply,
  ReplyParser,
  said,
  statistic,
  stats,
  statsOf,
  VERSION,
} from "./protocol.js";
import type { Server } from "./server.js";

export interface Replies {
  readonly kind: "replies";
  readonly replies: readonly Reply[];
  /**
   * When the server carried the commands out, by this process' clock: between the moments at which they were sent and
   * their last reply was read, of which this is the middle. Milliseconds since the epoch.
   */
  readonly at: number;
  /** Milliseconds that `at` may be off, to either side: large where this process was stopped, or the server slow. */
  readonly uncertainty: number;
}

export type Answer =
  | Replies
  /** The connection ended first. */
  | { readonly kind: "lost" }
  /** No answer by the deadline; `eventually` is what became of it. */
  | { readonly kind: "late"; readonly eventually: Promise<Answer> };

/** What a server tells about itself when a connection to it is made. */
export interface ServerFacts {
  readonly version: string;
  /** Changes when the server lost its memory: a restart, or a flush. */
  readonly incarnation: string;
  /** Bytes of the largest item, with its key and header. */
  readonly itemSizeMax: number;
}

/** The first release whose meta commands are those of today. */
const OLDEST = [1, 6, 10] as const;

const NOTHING_ASKED: Replies = { kind: "replies", replies: [], at: 0, uncertainty: 0 };

interface Waiting {
  readonly commands: readonly Command[];
  readonly replies: Reply[];
  resolve: (answer: Answer) => void;
  answered: number;
  /** Nothing of it was sent earlier, by the monotonic clock. */
  readonly since: number;
  /** By the monotonic clock; infinite once it was called late. */
  ends: number;
}

/**
 * One connection: commands go out in the order they are given, and replies come in that order. All that is given in
 * one turn of the event loop leaves in one piece, since a system call is what costs most; one timer watches the oldest
 * deadline of all.
 * Nothing but the greeting is sent before the server has answered the greeting (so that it lists the connection) and
 * before the fence let it through.
 */
export class Connection {
  readonly #parser = new ReplyParser();
  readonly #waiting: Waiting[] = [];
  #outgoing: Command[] = [];
  /** When what waits to leave began to gather, and when the bytes at hand were read, by the monotonic clock. */
  #gatheredAt = 0;
  #readAt = 0;
  #timer: NodeJS.Timeout | null = null;
  #retired = false;
  #misunderstood: Reply | null = null;
  facts!: ServerFacts;
  /** Our end as the server sees it, or a mark that says that it cannot be told (endpoints.ts). */
  endpoint = "";

  private constructor(
    readonly server: Server,
    readonly socket: Socket,
  ) {
    socket.on("data", (chunk: Buffer) => this.#take(chunk));
    socket.on("error", () => {});
    socket.on("close", () => {
      if (this.#timer !== null) clearTimeout(this.#timer);
      for (const waiting of this.#waiting.splice(0)) waiting.resolve({ kind: "lost" });
    });
  }

  /** Connects, greets, asks the fence. Rejects with LegacyUnreachable, VERSION_UNSUPPORTED or what the fence says. */
  static async open(server: Server, fence: Fence, deadline: number): Promise<Connection> {
    const connection = new Connection(server, await openSocket(server, deadline));
    const ready = await within(connection.#greet(fence), deadline).catch((error: unknown) => error);
    // It may have ended while the fence was asked, and then it never will again: who waits for that would wait for ever.
    if (ready === undefined && connection.usable) return connection;
    connection.destroy();
    if (ready instanceof FerryError || ready instanceof LegacyUnreachable) throw ready;
    if (ready === LATE) throw new LegacyUnreachable(`memcached at ${server.address} does not answer.`);
    throw new LegacyUnreachable("No new connection to memcached may be used now.", { cause: ready });
  }

  /** False once it is broken or on its way out. */
  get usable(): boolean {
    return !this.#retired && !this.socket.destroyed;
  }

  /** Batches sent and not yet answered. */
  get load(): number {
    return this.#waiting.length;
  }

  /** Whether something waits to leave in this turn of the event loop. */
  get gathering(): boolean {
    return this.#outgoing.length > 0;
  }

  /**
   * Resolves with one reply a command (several for `stats`), or with what kept them from coming; never rejects.
   *
   * @param ends by the monotonic clock
   */
  send(commands: readonly Command[], ends = Number.POSITIVE_INFINITY): Promise<Answer> {
    return new Promise((resolve) => {
      if (this.socket.destroyed) return resolve({ kind: "lost" });
      if (commands.length === 0) return resolve(NOTHING_ASKED);
      if (this.#outgoing.length === 0) {
        this.#gatheredAt = performance.now();
        setImmediate(() => this.#flush());
      }
      this.#waiting.push({ commands, replies: [], resolve, answered: 0, since: this.#gatheredAt, ends });
      if (this.#timer === null && ends < Number.POSITIVE_INFINITY) this.#watch(ends);
      for (const command of commands) this.#outgoing.push(command);
    });
  }

  /** Takes no new commands; ends when the last answer is there. */
  retire(): void {
    this.#retired = true;
    if (this.#waiting.length === 0) this.socket.destroy();
  }

  destroy(): void {
    this.#retired = true;
    this.socket.destroy();
  }

  /** Gives the socket to somebody who speaks over it himself, once the greeting is over and nothing else was sent. */
  handOver(): Socket {
    this.#retired = true;
    this.socket.removeAllListeners("data");
    return this.socket;
  }

  #flush(): void {
    const pieces = encode(this.#outgoing);
    this.#outgoing = [];
    if (pieces.length === 1) {
      this.socket.write(pieces[0]!);
      return;
    }
    this.socket.cork();
    for (const piece of pieces) this.socket.write(piece);
    this.socket.uncork();
  }

  /** An answer may lie unread while this process was busy: it is looked at before a deadline counts. */
  #watch(ends: number): void {
    const left = Math.max(0, ends - performance.now());
    this.#timer = setTimeout(() => setImmediate(() => this.#expire()), left).unref();
  }

  #expire(): void {
    const now = performance.now();
    let next = Number.POSITIVE_INFINITY;
    for (const waiting of this.#waiting) {
      if (waiting.ends > now) {
        next = Math.min(next, waiting.ends);
        continue;
      }
      waiting.ends = Number.POSITIVE_INFINITY;
      const tell = waiting.resolve;
      const eventually = new Promise<Answer>((resolve) => {
        waiting.resolve = resolve;
      });
      tell({ kind: "late", eventually });
    }
    this.#timer = null;
    if (next < Number.POSITIVE_INFINITY) this.#watch(next);
  }

  async #greet(fence: Fence): Promise<void> {
    const { address } = this.server;
    const answer = await this.send([VERSION, stats("settings"), stats(), stats("conns")]);
    const refusal = this.#misunderstood;
    if (refusal !== null && /unauthenticated/i.test(refusal.words.join(" "))) {
      throw new FerryError("AUTHENTICATION_FAILED", `memcached at ${address} asks for authentication.`, {
        remedy: "sessionferry speaks to memcached without authentication: give it a listener that asks for none.",
      });
    }
    if (answer.kind !== "replies") {
      throw new LegacyUnreachable(
        `memcached at ${address} broke the connection${refusal === null ? "" : `: ${said(refusal)}`}.`,
      );
    }
    const first = answer.replies[0];
    if (first?.code !== "VERSION") throw new LegacyUnreachable(`${address} does not answer like memcached.`);
    const version = first.words[0] ?? "";
    if (!recentEnough(version)) {
      throw new FerryError(
        "VERSION_UNSUPPORTED",
        `memcached at ${address} is ${version}; ${OLDEST.join(".")} is the oldest whose meta commands fit.`,
      );
    }
    const found = statsOf(answer.replies);
    if (found.get("cas_enabled") !== "yes") {
      throw new FerryError("VERSION_UNSUPPORTED", `memcached at ${address} runs without CAS.`, {
        remedy: "Start memcached without -C: the drain back to it needs CAS.",
      });
    }
    this.facts = { version, incarnation: incarnationOf(found), itemSizeMax: statistic(found, "item_size_max") };
    const local = endpointOf(this.socket.localAddress ?? "", this.socket.localPort ?? 0);
    this.endpoint = endpointsIn(answer.replies).has(local) ? local : hidden(local);
    const closed = new Promise((resolve) => this.socket.once("close", resolve));
    await fence({ store: "legacy", endpoint: this.endpoint, closed });
  }

  #take(chunk: Buffer): void {
    this.#readAt = performance.now();
    let replies: Reply[];
    try {
      replies = this.#parser.push(chunk);
    } catch {
      this.destroy();
      return;
    }
    const goesOn = replies.every((reply) => this.#assign(reply));
    if (!goesOn || (this.#retired && this.#waiting.length === 0)) this.destroy();
  }

  /** Gives a reply to the command it answers; false when the connection cannot go on after it. */
  #assign(reply: Reply): boolean {
    const first = this.#waiting[0];
    // A line that nobody asked for: the server ends the connection, or is out of step with us.
    if (first === undefined) return false;
    const command = first.commands[first.answered]!;
    // An answer to another question: whatever the server did, nobody can tell any more.
    if (!isRefusal(reply) && !command.fits(reply)) return false;
    if (first.replies.length > first.commands.length + MOST_LINES) return false;
    first.replies.push(reply);
    // A command that was not understood may have left its value behind as a command: nothing after it can be trusted.
    const { code } = reply;
    const misunderstood = code === "ERROR" || (code === "CLIENT_ERROR" && !isNoNumber(reply));
    const more = command.many && !misunderstood && code !== "END" && code !== "SERVER_ERROR";
    if (!more && ++first.answered === first.commands.length) {
      this.#waiting.shift();
      const uncertainty = (this.#readAt - first.since) / 2;
      first.resolve({ kind: "replies", replies: first.replies, at: Date.now() - uncertainty, uncertainty });
    }
    if (misunderstood) this.#misunderstood = reply;
    return !misunderstood;
  }
}

/** Pid and start time, and how often it was flushed. */
export function incarnationOf(found: ReadonlyMap<string, string>): string {
  const started = statistic(found, "time") - statistic(found, "uptime");
  return `${statistic(found, "pid")}@${started}/${statistic(found, "cmd_flush")}`;
}

/** Pid and start time alone: a flush ends no command. */
export function processOf(incarnation: string): string {
  return incarnation.split("/")[0]!;
}

export async function openSocket({ host, port, tls, ...server }: Server, deadline: number): Promise<Socket> {
  const socket = tls === null ? connect({ host, port }) : connectTls({ ...tls, host, port });
  socket.setNoDelay(true);
  socket.setKeepAlive(true);
  const connected = new Promise<void>((resolve, reject) => {
    socket.once(tls === null ? "connect" : "secureConnect", resolve);
    socket.once("error", reject);
  });
  const outcome = await within(connected, deadline).catch((error: unknown) => error);
  if (outcome === undefined) return socket;
  socket.on("error", () => {});
  socket.destroy();
  const refused = distrusted(`memcached at ${server.address}`, outcome, "legacy.tls");
  if (refused !== null) throw refused;
  const why = outcome === LATE ? "no connection in time" : outcome instanceof Error ? outcome.message : String(outcome);
  throw new LegacyUnreachable(`memcached at ${server.address} cannot be reached: ${why}.`);
}

function recentEnough(version: string): boolean {
  const parts = version.split(".").map((part) => Number.parseInt(part, 10));
  for (const [n, least] of OLDEST.entries()) {
    const part = parts[n];
    if (part === undefined || Number.isNaN(part) || part < least) return false;
    if (part > least) return true;
  }
  return true;
}
