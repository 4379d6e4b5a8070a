import { connect, type Socket } from "node:net";
import type { Operation } from "../messages.js";
import { payloadOf, sidOf } from "../payload.js";
import { cpuOf, type RunningProxy, startProxy } from "../proxies.js";

/** A `sessionferry proxy` of its own, asked over memcached's text protocol as an application would ask it. */

const LIFETIME = 6 * 3600;

export interface Spent {
  readonly operations: number;
  readonly errors: number;
  /** Microseconds of processor of the measured process. */
  readonly processor: number;
}

export class MeasuredDoor {
  private constructor(
    readonly proxy: RunningProxy,
    readonly prefix: string,
  ) {}

  static async start(folder: string, prefix: string): Promise<MeasuredDoor> {
    return new MeasuredDoor(await startProxy(folder), prefix);
  }

  async repeat(ask: {
    operation: Operation;
    milliseconds: number;
    concurrency: number;
    sessions: number;
    bytes: number;
  }): Promise<Spent> {
    const { operation, milliseconds, concurrency, sessions, bytes } = ask;
    const value = JSON.stringify(payloadOf(bytes, 1));
    const request = requestOf(operation, this.prefix, value);
    const before = cpuOf(this.proxy.pid);
    const until = performance.now() + milliseconds;
    const lanes = Array.from({ length: concurrency }, (_, lane) =>
      this.#lane((n) => request(sidOf((lane + n * concurrency) % sessions)), until),
    );
    const done = await Promise.all(lanes);
    return {
      operations: done.reduce((sum, { operations }) => sum + operations, 0),
      errors: done.reduce((sum, { errors }) => sum + errors, 0),
      processor: (cpuOf(this.proxy.pid) - before) * 1e6,
    };
  }

  async fill(sessions: number, bytes: number): Promise<void> {
    const set = requestOf("set", this.prefix, JSON.stringify(payloadOf(bytes, 1)));
    const lanes = Array.from({ length: 16 }, (_, lane) =>
      this.#lane((n) => (lane + n * 16 < sessions ? set(sidOf(lane + n * 16)) : null), Number.POSITIVE_INFINITY),
    );
    await Promise.all(lanes);
  }

  close(): Promise<void> {
    return this.proxy.stop();
  }

  /** One connection that asks again as soon as it has its answer. */
  async #lane(next: (n: number) => Request | null, until: number): Promise<{ operations: number; errors: number }> {
    const socket: Socket = connect({ port: this.proxy.port, host: "127.0.0.1", noDelay: true });
    let operations = 0;
    let errors = 0;
    try {
      await new Promise<void>((resolve, reject) => {
        let text = "";
        let ends = "";
        const ask = () => {
          const request = performance.now() < until ? next(operations) : null;
          if (request === null) return resolve();
          text = "";
          ends = request.ends;
          socket.write(request.text, "latin1");
        };
        socket.on("connect", ask);
        socket.on("data", (chunk) => {
          text += chunk.toString("latin1");
          const failed = /^(SERVER_|CLIENT_)?ERROR/.test(text);
          if (!failed && !text.endsWith(ends)) return;
          if (failed || (ends === "END\r\n" && text === ends)) errors++;
          operations++;
          ask();
        });
        socket.on("error", reject);
        socket.on("close", () => reject(new Error("the proxy hung up")));
      });
    } finally {
      socket.removeAllListeners();
      socket.on("error", () => {});
      socket.destroy();
    }
    return { operations, errors };
  }
}

interface Request {
  readonly text: string;
  /** What the answer ends with. */
  readonly ends: string;
}

function requestOf(operation: Operation, prefix: string, value: string): (sid: string) => Request {
  const bytes = Buffer.byteLength(value);
  if (operation === "get") return (sid) => ({ text: `get ${prefix}${sid}\r\n`, ends: "END\r\n" });
  if (operation === "touch") return (sid) => ({ text: `touch ${prefix}${sid} ${LIFETIME}\r\n`, ends: "\r\n" });
  return (sid) => ({ text: `set ${prefix}${sid} 0 ${LIFETIME} ${bytes}\r\n${value}\r\n`, ends: "\r\n" });
}
