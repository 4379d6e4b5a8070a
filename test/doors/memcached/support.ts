import { connect, type Socket } from "node:net";
import { type Door, type DoorOptions, openDoor } from "../../../src/doors/memcached/server.js";
import type { ItemStore, Items } from "../../../src/ports/items.js";
import type { Relay, Relayed } from "../../../src/ports/relay.js";
import { memcached } from "../../../src/presets/plain.js";
import type { RunningServer } from "../../../src/servers/index.js";
import { openMemcachedLegacy } from "../../../src/stores/memcached/store.js";

/** Keys that begin so are sessions in these tests; all others are the application's own. */
export const PREFIX = "s.";

export const keyspace = (key: string): string | null => (key.startsWith(PREFIX) ? key.slice(PREFIX.length) : null);

/** memcached's verbs as the door sees them without a ferry, and their end. */
export function openItems(server: RunningServer): { items: Items; bypass: ItemStore; close(): Promise<void> } {
  const store = openMemcachedLegacy({
    url: server.url,
    preset: memcached,
    prefix: PREFIX,
    connections: 4,
    deadline: 5_000,
    items: true,
  });
  return { items: store.verbs(), bypass: store.bypass(), close: () => store.close() };
}

/** The way to this memcached as it is, open as long as the test says, and what is under way on it. */
export class TestRelay implements Relay {
  open = true;
  underWay = 0;
  begun = 0;
  readonly counted: Relayed[] = [];
  readonly sockets: Socket[] = [];

  constructor(private readonly server: { host: string; port: number }) {}

  begin(): (() => void) | null {
    if (!this.open) return null;
    this.underWay++;
    this.begun++;
    return () => {
      this.underWay--;
    };
  }

  count(relayed: Relayed): void {
    this.counted.push(relayed);
  }

  async connect() {
    const socket = connect({ port: this.server.port, host: this.server.host, noDelay: true });
    await new Promise((resolve, reject) => {
      socket.once("connect", () => resolve(null));
      socket.once("error", reject);
    });
    this.sockets.push(socket);
    return { socket, settled: async () => {} };
  }
}

export interface DoorOver {
  readonly door: Door;
  readonly port: number;
  close(): Promise<void>;
}

/** A door in front of this memcached, on a port of its own. */
export async function openDoorOver(server: RunningServer, options: Partial<DoorOptions> = {}): Promise<DoorOver> {
  const { items, bypass, close } = openItems(server);
  const door = await openDoor({
    items,
    bypass,
    keyspace,
    listeners: [{ listen: "127.0.0.1:0" }],
    allowFlush: true,
    ...options,
  });
  return {
    door,
    port: portOf(door),
    async close() {
      await door.close();
      await close();
    },
  };
}

export const portOf = (door: Door): number => Number(door.addresses[0]!.split(":").at(-1));

/** A client that sends what it is told, and keeps what it gets. */
export class Talk {
  #got: Buffer[] = [];
  #length = 0;
  #ended = false;
  #wake: () => void = () => {};

  private constructor(readonly socket: Socket) {
    socket.on("data", (chunk) => {
      this.#got.push(chunk);
      this.#length += chunk.length;
      this.#wake();
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      this.#ended = true;
      this.#wake();
    });
  }

  static to(where: { port: number; host?: string } | { path: string }): Promise<Talk> {
    return new Promise((resolve, reject) => {
      const socket = connect({ noDelay: true, ...where });
      socket.once("error", reject);
      socket.once("connect", () => resolve(new Talk(socket)));
    });
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#got);
  }

  get text(): string {
    return this.bytes.toString("latin1");
  }

  send(bytes: string | Buffer): void {
    this.socket.write(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes);
  }

  /** Resolves once so many bytes, or these, are there, or the connection has ended; rejects after 10 s. */
  async until(enough: number | string): Promise<string> {
    const isThere = () => (typeof enough === "number" ? this.#length >= enough : this.text.includes(enough));
    await this.#when(isThere);
    return this.text;
  }

  async ended(): Promise<string> {
    await this.#when(() => this.#ended);
    return this.text;
  }

  close(): void {
    this.socket.destroy();
  }

  #when(isThere: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`got only ${JSON.stringify(this.text.slice(0, 300))}`)), 10_000);
      this.#wake = () => {
        if (!isThere() && !this.#ended) return;
        clearTimeout(late);
        resolve();
      };
      this.#wake();
    });
  }
}

/** The clients of one test. */
export class Talks {
  readonly #all: Talk[] = [];

  async to(where: { port: number } | { path: string }): Promise<Talk> {
    const talk = await Talk.to(where);
    this.#all.push(talk);
    return talk;
  }

  close(): void {
    for (const talk of this.#all.splice(0)) talk.close();
  }
}

export async function eventually(holds: () => boolean): Promise<void> {
  for (let tries = 0; !holds(); tries++) {
    if (tries > 1_000) throw new Error("it never came so");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
