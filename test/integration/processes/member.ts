/**
 * A process of an application, to be killed and frozen: started with a configuration as its argument, it takes requests
 * as messages `{ id, verb, sid, value?, expiresAt? }` and answers `{ id, session | applied | error }`. After a message
 * `{ hold: point }` the next operation to pass that point is held, and `{ held: point }` told; `{ release: true }` lets
 * all that are held go on.
 */
import { LiveFerry } from "../../../src/index.js";
import type { Point } from "../../../src/ports/observer.js";

interface Request {
  readonly id: number;
  readonly verb: "get" | "set" | "touch" | "destroy";
  readonly sid: string;
  readonly value?: string;
  readonly expiresAt?: number;
}

const send = (message: object) => process.send?.(message);
const holds = new Set<Point>();
const held: (() => void)[] = [];

/** A client says how long its session is to live; the moment that this means is this process' own. */
const shift = Number(process.argv[3] ?? 0);

async function main(): Promise<void> {
  const config = JSON.parse(process.argv[2]!);
  const ferry = await LiveFerry.open(config, {
    event(event) {
      if (event.type === "evicted" || event.type === "background-error") {
        send({ event: event.type, detail: "error" in event ? `${event.task}: ${event.error}` : "" });
      }
    },
    at(point) {
      if (!holds.delete(point)) return undefined;
      send({ held: point });
      return new Promise<void>((resolve) => held.push(resolve));
    },
  });

  async function answer({ id, verb, sid, value, expiresAt }: Request): Promise<void> {
    try {
      switch (verb) {
        case "get": {
          const session = await ferry.get(sid);
          send({ id, session: session && { value: session.value.toString(), expiresAt: session.expiresAt - shift } });
          break;
        }
        case "set":
          await ferry.set(sid, { value: Buffer.from(value!), flags: 0, expiresAt: expiresAt! + shift });
          send({ id });
          break;
        case "touch":
          send({ id, applied: await ferry.touch(sid, expiresAt! + shift) });
          break;
        case "destroy":
          await ferry.destroy(sid);
          send({ id });
      }
    } catch (error) {
      const { code = "none", message, cause } = error as { code?: string; message: string; cause?: Error };
      send({ id, error: { code, message: cause === undefined ? message : `${message} (${cause.message})` } });
    }
  }

  process.on("message", (message: Request | { hold: Point } | { release: true } | { close: true }) => {
    if ("hold" in message) holds.add(message.hold);
    else if ("release" in message) {
      holds.clear();
      for (const release of held.splice(0)) release();
    } else if ("close" in message) void ferry.close().finally(() => process.exit(0));
    else void answer(message);
  });
  process.on("disconnect", () => process.exit(0));
  process.on("unhandledRejection", (reason) => {
    send({ event: "unhandled", detail: String((reason as Error)?.stack ?? reason) });
  });
  send({ ready: true });
}

main().catch((error) => {
  send({ failed: { code: error.code ?? "none", message: String(error.message) } });
  process.exit(1);
});
