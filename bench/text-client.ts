import { connect, type Socket } from "node:net";
import type { Payload } from "./payload.js";
import type { MeasuredStore, Opened } from "./stores.js";

type Done = (error: unknown, found?: unknown) => void;

/** Seconds. */
const LIFETIME = 21_600;
/** What memcached says when it has done as it was told, or has nothing. */
const REPLY = /^(STORED|END|VALUE [\s\S]*\r\nEND)\r\n$/;

/** One connection of memcached's text protocol with one request under way, as most clients have it. */
class Connection {
  #waiting: Done | null = null;
  #said: Buffer[] = [];

  constructor(
    readonly socket: Socket,
    readonly idle: (connection: Connection) => void,
  ) {
    socket.on("data", (chunk: Buffer) => this.#take(chunk));
    socket.on("error", () => {});
    socket.on("close", () => this.#answer(new Error("the connection was closed")));
  }

  ask(bytes: readonly (string | Buffer)[], done: Done): void {
    this.#waiting = done;
    this.socket.cork();
    for (const piece of bytes) this.socket.write(piece);
    this.socket.uncork();
  }

  #take(chunk: Buffer): void {
    this.#said.push(chunk);
    if (chunk.at(-1) !== 10) return;
    const said = this.#said.length === 1 ? chunk : Buffer.concat(this.#said);
    if (said[0] === 86 && !said.subarray(-7).equals(END)) return;
    const text = said.length > 64 ? "" : said.toString("latin1");
    if (text !== "" && !REPLY.test(text)) this.#answer(new Error(text.trimEnd()));
    else this.#answer(null, said[0] === 86);
  }

  #answer(error: unknown, found?: unknown): void {
    const waiting = this.#waiting;
    this.#waiting = null;
    this.#said = [];
    if (waiting === null) return;
    if (!this.socket.destroyed) this.idle(this);
    waiting(error, found);
  }
}

const END = Buffer.from("\r\nEND\r\n");

/**
 * An application that speaks memcached's text protocol over so many connections, each with one request under way at a
 * time: whoever finds none idle waits, and its waiting counts.
 */
export async function openTextClient(port: number, prefix: string, connections: number): Promise<Opened> {
  const idle: Connection[] = [];
  const queue: { bytes: readonly (string | Buffer)[]; done: Done }[] = [];
  const sockets = await Promise.all(
    Array.from(
      { length: connections },
      () =>
        new Promise<Socket>((resolve, reject) => {
          const socket = connect({ port, host: "127.0.0.1", noDelay: true }, () => resolve(socket));
          socket.once("error", reject);
        }),
    ),
  );
  const next = (connection: Connection) => {
    const waiting = queue.shift();
    if (waiting === undefined) idle.push(connection);
    else connection.ask(waiting.bytes, waiting.done);
  };
  for (const socket of sockets) idle.push(new Connection(socket, next));
  const ask = (bytes: readonly (string | Buffer)[], done: Done) => {
    const connection = idle.pop();
    if (connection === undefined) queue.push({ bytes, done });
    else connection.ask(bytes, done);
  };
  // An application has its value serialised before it calls the client.
  const values = new Map<Payload, Buffer>();
  const bytesOf = (session: Payload) => {
    let value = values.get(session);
    if (value === undefined) {
      value = Buffer.from(`${JSON.stringify(session)}\r\n`);
      values.set(session, value);
    }
    return value;
  };
  const store: MeasuredStore = {
    get: (sid, done) => ask([`get ${prefix}${sid}\r\n`], done),
    set: (sid, session, done) => {
      const value = bytesOf(session);
      ask([`set ${prefix}${sid} 0 ${LIFETIME} ${value.length - 2}\r\n`, value], done);
    },
  };
  return {
    store,
    routes: [],
    async close() {
      for (const socket of sockets) socket.destroy();
    },
  };
}
