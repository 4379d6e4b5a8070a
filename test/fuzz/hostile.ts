import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import fc from "fast-check";

/**
 * A server that speaks honestly until it is told not to: it relays to a real one, and does one bad thing to the bytes
 * of its replies. It does it at a byte or at the beginning of a line or message, counted from the moment at which it was
 * told, over all connections; the bytes after it are honest again.
 */
export type Place =
  | { readonly count: "bytes" | "units"; readonly from: number }
  /** Where these bytes come first. */
  | { readonly before: string };

export type Malice =
  /** One byte becomes another one. */
  | { readonly do: "change"; readonly at: Place; readonly to: number }
  /** So many bytes are left out. */
  | { readonly do: "remove"; readonly at: Place; readonly length: number }
  /** Bytes that nobody asked for. */
  | { readonly do: "insert"; readonly at: Place; readonly bytes: Uint8Array }
  /** These bytes instead of everything that follows. */
  | { readonly do: "replace"; readonly at: Place; readonly bytes: Uint8Array }
  /** The next digits become other ones: a length, a count, a time. */
  | { readonly do: "number"; readonly at: Place; readonly to: string }
  /** The four bytes of a length or count in PostgreSQL's protocol, after so many others. */
  | { readonly do: "word"; readonly at: Place; readonly skip: number; readonly to: number }
  /** The connection ends, by FIN or RST. */
  | { readonly do: "end"; readonly at: Place; readonly reset: boolean }
  /** Nothing more comes. */
  | { readonly do: "stall"; readonly at: Place }
  /** The same bytes again and again, as fast as they are taken. */
  | { readonly do: "flood"; readonly at: Place; readonly bytes: Uint8Array }
  /** Every byte comes by itself. */
  | { readonly do: "trickle" };

/** Tells where the units of a stream of replies begin: offsets in the chunk just come, of lines or of messages. */
export type Units = () => (chunk: Buffer) => number[];

export const LINES: Units = () => {
  let beginning = true;
  return (chunk) => {
    const starts = beginning ? [0] : [];
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) starts.push(at + 1);
    beginning = chunk.at(-1) === 10;
    return starts.filter((start) => start < chunk.length);
  };
};

/** PostgreSQL's: a letter, a length that counts itself, a body. */
export const MESSAGES: Units = () => {
  let passed = 0;
  let next = 0;
  let head = Buffer.alloc(0);
  return (chunk) => {
    const starts: number[] = [];
    for (let at = 0; at < chunk.length; ) {
      if (passed + at < next) {
        at = Math.min(chunk.length, next - passed);
        continue;
      }
      if (head.length === 0) starts.push(at);
      const missing = chunk.subarray(at, at + 5 - head.length);
      head = Buffer.concat([head, missing]);
      at += missing.length;
      if (head.length < 5) break;
      next = passed + at + head.readUInt32BE(1) - 4;
      head = Buffer.alloc(0);
    }
    passed += chunk.length;
    return starts;
  };
};

/** So many bytes of a flood at most, lest a machine that takes them all is filled by this process alone. */
export const FLOOD = 48 * 1024 * 1024;

export class HostileServer {
  #malice: Malice | null = null;
  /** Bytes and units that have passed since. */
  #bytes = 0;
  #units = 0;
  /** Bytes of the last flood that were taken. */
  poured = 0;
  readonly #sockets = new Set<Socket>();

  private constructor(
    private readonly target: { readonly host: string; readonly port: number },
    private readonly units: Units,
    private readonly listener: ReturnType<typeof createServer>,
  ) {
    listener.on("connection", (client: Socket) => this.#relay(client));
  }

  static async start(target: HostileServer["target"], units: Units): Promise<HostileServer> {
    const listener = createServer({ noDelay: true });
    const server = new HostileServer(target, units, listener);
    await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
    return server;
  }

  get port(): number {
    return (this.listener.address() as AddressInfo).port;
  }

  turn(malice: Malice | null): void {
    this.#malice = malice;
    this.#bytes = 0;
    this.#units = 0;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.listener.close(resolve));
  }

  #relay(client: Socket): void {
    const server = connect({ ...this.target, noDelay: true });
    for (const socket of [client, server]) {
      this.#sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        this.#sockets.delete(socket);
        (socket === client ? server : client).destroy();
      });
    }
    client.pipe(server);
    let silent = false;
    const startsIn = this.units();
    server.on("data", (chunk: Buffer) => {
      const starts = startsIn(chunk);
      if (!silent) silent = this.#pass(chunk, starts, client) === "silent";
    });
  }

  #pass(chunk: Buffer, starts: readonly number[], client: Socket): "silent" | "goes on" {
    const malice = this.#malice;
    if (malice?.do === "trickle") {
      for (const byte of chunk) client.write(Buffer.of(byte));
      return "goes on";
    }
    const at = malice === null ? undefined : this.#placeIn(chunk, starts, malice.at);
    if (malice === null || at === undefined) {
      client.write(chunk);
      return "goes on";
    }
    this.#malice = null;
    const [before, rest] = [chunk.subarray(0, at), chunk.subarray(at)];
    client.write(before);
    switch (malice.do) {
      case "change":
        client.write(Buffer.concat([Buffer.of(malice.to), rest.subarray(1)]));
        return "goes on";
      case "remove":
        client.write(rest.subarray(malice.length));
        return "goes on";
      case "insert":
        client.write(Buffer.concat([malice.bytes, rest]));
        return "goes on";
      case "replace":
        client.write(malice.bytes);
        return "silent";
      case "number":
        client.write(Buffer.from(rest.toString("latin1").replace(/-?\d+/, malice.to), "latin1"));
        return "goes on";
      case "word": {
        const word = Buffer.alloc(4);
        word.writeUInt32BE(malice.to);
        client.write(Buffer.concat([rest.subarray(0, malice.skip), word, rest.subarray(malice.skip + 4)]));
        return "goes on";
      }
      case "end":
        if (malice.reset) client.resetAndDestroy();
        else client.end();
        return "silent";
      case "stall":
        return "silent";
      case "flood":
        this.#flood(client, Buffer.from(malice.bytes));
        return "silent";
    }
  }

  #flood(client: Socket, bytes: Buffer): void {
    const piece = Buffer.concat(Array.from({ length: Math.ceil(65_536 / bytes.length) }, () => bytes));
    this.poured = 0;
    const pour = () => {
      while (this.poured < FLOOD && !client.destroyed) {
        this.poured += piece.length;
        if (!client.write(piece)) return;
      }
    };
    client.on("drain", pour);
    pour();
  }

  /** Where in this chunk the place lies; undefined where it comes later. */
  #placeIn(chunk: Buffer, starts: readonly number[], place: Place): number | undefined {
    if ("before" in place) {
      const at = chunk.indexOf(place.before);
      return at < 0 ? undefined : at;
    }
    const { count, from } = place;
    const [bytes, units] = [this.#bytes, this.#units];
    this.#bytes += chunk.length;
    this.#units += starts.length;
    if (count === "units") return starts[from - units];
    return from - bytes < chunk.length ? from - bytes : undefined;
  }
}

const NUMBERS = ["0", "-1", "-2", "1", "00", "4294967295", "2147483648", "33000000", "99999999999999999999", "1e9", ""];
const WORDS = [0, 1, 3, 4, 5, 0x7f_ff_ff_ff, 0x80_00_00_00, 0xff_ff_ff_ff, 0x00_ff_ff_ff];

/** @param dialect pieces of the server's language, to be put where they do not belong; @param units in usual replies */
export function malices(dialect: readonly (string | Buffer)[], units: number): fc.Arbitrary<Malice> {
  const place = (count: "bytes" | "units", most: number) =>
    fc.record({ count: fc.constant(count), from: fc.nat(most) });
  const at = fc.oneof(
    { weight: 3, arbitrary: place("units", 3) },
    { weight: 2, arbitrary: place("units", units) },
    { weight: 3, arbitrary: place("bytes", 60) },
    { weight: 1, arbitrary: place("bytes", 20 * units) },
  );
  const piece = fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom(...dialect).map((text) => Uint8Array.from(Buffer.from(text))) },
    { weight: 1, arbitrary: fc.uint8Array({ minLength: 1, maxLength: 40 }) },
  );
  return fc.oneof(
    { weight: 3, arbitrary: fc.record({ do: fc.constant("change" as const), at, to: fc.nat(255) }) },
    {
      weight: 2,
      arbitrary: fc.record({ do: fc.constant("remove" as const), at, length: fc.integer({ min: 1, max: 60 }) }),
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constant("insert" as const), at, bytes: piece }) },
    { weight: 4, arbitrary: fc.record({ do: fc.constant("replace" as const), at, bytes: piece }) },
    { weight: 4, arbitrary: fc.record({ do: fc.constant("number" as const), at, to: fc.constantFrom(...NUMBERS) }) },
    {
      weight: 2,
      arbitrary: fc.record({ do: fc.constant("word" as const), at, skip: fc.nat(9), to: fc.constantFrom(...WORDS) }),
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("end" as const), at, reset: fc.boolean() }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("stall" as const), at }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("trickle" as const) }) },
  );
}
