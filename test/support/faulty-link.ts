import { connect, createServer, type Server, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { Signal } from "./processes.js";

/** `there`: from the client to the server. */
export type Way = "there" | "back";
const WAYS: readonly Way[] = ["there", "back"];

const LOOPBACK = "127.0.0.1";

/** Milliseconds in which a client reads the first half of a reply that ends there. */
const READ_WITHIN = 50;

/** Bytes that a throttled lane moves at a time. */
const PIECE = 512;

/** For all links before one server: which client's connection is at which of the links' own ports. */
export class ClientPorts {
  /** Those that were are kept: the server lists a connection that was broken until it has noticed. */
  readonly #clients = new Map<number, number>();

  carries(linkPort: number, clientPort: number): void {
    this.#clients.set(linkPort, clientPort);
  }

  /** Puts the clients' own ports for those of the links. Who came by none has his own. */
  shown(text: string): string {
    return text.replace(
      /(STAT \d+:addr tcp6?:\S+:)(\d+)/g,
      (_, head: string, port: string) => `${head}${this.#clients.get(Number(port)) ?? port}`,
    );
  }
}

/**
 * A stretch of network between clients and one server, which a test breaks as networks break. What a cut holds back is
 * not lost: as with TCP it arrives, in order, when the cut heals, also after its sender has given up and gone; only a
 * reset, or the end of the receiver, loses bytes. New connections are made over a cut, too, but hear nothing.
 *
 * memcached lists its connections by the clients' addresses, and the protocol relies on it; so all links before one
 * memcached show them as they are (`ClientPorts`), like a network without address translation.
 */
export class FaultyLink {
  readonly #wires = new Set<Wire>();
  readonly #cut = new Set<Way>();
  #refusing = false;
  /** Milliseconds that every piece travels. */
  #delay = 0;
  /** Bytes in a second, each way and connection. */
  #rate = Number.POSITIVE_INFINITY;
  #resets = 0;

  private constructor(
    readonly server: Server,
    readonly target: { readonly host: string; readonly port: number },
    readonly clients: ClientPorts | null,
  ) {}

  static async open(
    target: { readonly host: string; readonly port: number },
    { clients = null }: { clients?: ClientPorts | null } = {},
  ): Promise<FaultyLink> {
    const server = createServer({ allowHalfOpen: true, noDelay: true });
    const link = new FaultyLink(server, { host: target.host, port: target.port }, clients);
    server.on("connection", (socket) => link.#accept(socket));
    await new Promise<void>((resolve) => server.listen(0, LOOPBACK, resolve));
    return link;
  }

  get port(): number {
    return (this.server.address() as { port: number }).port;
  }

  /** The server's URL, by way of this link. */
  via(url: string): string {
    const detour = new URL(url);
    detour.hostname = LOOPBACK;
    detour.port = String(this.port);
    return detour.href;
  }

  /** Connections that have not ended on both sides. */
  get connections(): number {
    return this.#wires.size;
  }

  cut(...ways: readonly Way[]): void {
    for (const way of ways.length === 0 ? WAYS : ways) this.#cut.add(way);
  }

  /** Ends a cut, a delay, a throttle, a refusal: from now on everything passes, and what was held back arrives. */
  heal(): void {
    this.#cut.clear();
    this.#delay = 0;
    this.#rate = Number.POSITIVE_INFINITY;
    this.#refusing = false;
    this.#resets = 0;
    for (const wire of this.#wires) wire.tell();
  }

  delay(milliseconds: number): void {
    this.#delay = milliseconds;
  }

  throttle(bytesPerSecond: number): void {
    this.#rate = bytesPerSecond;
    for (const wire of this.#wires) wire.tell();
  }

  /** Resets every connection, and new ones at once. */
  refuse(): void {
    this.#refusing = true;
    this.reset();
  }

  /** Resets every connection; what is under way on them is lost. */
  reset(): void {
    for (const wire of [...this.#wires]) wire.break();
  }

  /** The next so many replies end in the middle: their first half arrives, then the connection is reset. */
  resetInReply(count = 1): void {
    this.#resets += count;
  }

  async close(): Promise<void> {
    this.heal();
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    this.reset();
    await closed;
  }

  // --- For the wires ---

  isCut(way: Way): boolean {
    return this.#cut.has(way);
  }

  get travels(): number {
    return this.#delay;
  }

  get rate(): number {
    return this.#rate;
  }

  takesReset(): boolean {
    if (this.#resets === 0) return false;
    this.#resets--;
    return true;
  }

  #accept(client: Socket): void {
    if (this.#refusing) {
      client.on("error", () => {});
      client.resetAndDestroy();
      return;
    }
    this.#wires.add(new Wire(this, client, (wire) => this.#wires.delete(wire)));
  }
}

/** One client's connection and the one that stands for it at the server. */
class Wire {
  readonly #signals: Signal[] = [];
  #server: Socket | null = null;
  #broken = false;

  constructor(
    readonly link: FaultyLink,
    readonly client: Socket,
    gone: (wire: Wire) => void,
  ) {
    client.on("error", () => {});
    void this.#run().finally(() => {
      this.break();
      gone(this);
    });
  }

  break(): void {
    if (this.#broken) return;
    this.#broken = true;
    this.client.resetAndDestroy();
    this.#server?.resetAndDestroy();
    this.tell();
  }

  /** Something about the link has changed. */
  tell(): void {
    for (const signal of this.#signals) signal.tell();
  }

  async #run(): Promise<void> {
    const { link, client } = this;
    const clientPort = client.remotePort ?? 0;
    const opening = new Signal();
    const request = new Lane(link, "there", client);
    this.#signals.push(opening, request.signal);
    while (link.isCut("there") && !this.#broken) await opening.told();
    if (this.#broken) return;
    const server = connect({ ...link.target, allowHalfOpen: true, noDelay: true });
    this.#server = server;
    const closed = closing(server);
    const reached = new Promise<boolean>((resolve) => server.once("connect", () => resolve(true)));
    server.on("error", () => {});
    if (!(await Promise.race([reached, closed.then(() => false)]))) return;
    link.clients?.carries(server.localPort ?? 0, clientPort);
    const reply = new Lane(link, "back", server);
    this.#signals.push(reply.signal);
    await Promise.all([
      // What the client sent before it went still arrives, and its end behind it.
      request.pour(server).then(() => server.end()),
      reply.pour(client, (half) => this.#breakAfter(half)).then(() => client.destroySoon()),
      closed,
      closing(client),
    ]);
  }

  /** A reply's first half, and the end of everything. */
  async #breakAfter(half: Buffer): Promise<void> {
    this.client.write(half);
    // What has arrived and was not read yet would go with the connection.
    await delay(READ_WITHIN);
    this.break();
  }
}

/** What one end sent and the other has not got yet. */
class Lane {
  readonly #pieces: { readonly bytes: Buffer; readonly due: number }[] = [];
  readonly signal = new Signal();
  #ended = false;
  /** The beginning of a line of statistics. */
  #rest = "";

  constructor(
    readonly link: FaultyLink,
    readonly way: Way,
    from: Socket,
  ) {
    const end = () => {
      this.#ended = true;
      this.signal.tell();
    };
    from.on("data", (bytes: Buffer) => {
      this.#pieces.push({ bytes, due: performance.now() + link.travels });
      this.signal.tell();
    });
    from.once("end", end);
    from.once("close", end);
  }

  /** Resolves when the sender has ended and everything has arrived, or the receiver is gone. */
  async pour(to: Socket, breakAfter?: (half: Buffer) => Promise<void>): Promise<void> {
    const { link, way } = this;
    to.once("close", () => this.signal.tell());
    while (!to.destroyed) {
      const piece = this.#pieces[0];
      if (link.isCut(way)) await this.signal.told();
      else if (piece === undefined) {
        if (this.#ended) break;
        await this.signal.told();
      } else if (piece.due > performance.now()) {
        await delay(piece.due - performance.now());
      } else {
        this.#pieces.shift();
        if (breakAfter !== undefined && link.takesReset()) {
          return breakAfter(piece.bytes.subarray(0, piece.bytes.length >> 1));
        }
        await this.#write(
          to,
          way === "back" && link.clients !== null ? this.#shown(piece.bytes, link.clients) : piece.bytes,
        );
      }
    }
    if (!to.destroyed && this.#rest !== "") to.write(this.#rest, "latin1");
  }

  async #write(to: Socket, bytes: Buffer): Promise<void> {
    for (let from = 0; from < bytes.length; from += PIECE) {
      if (this.link.rate === Number.POSITIVE_INFINITY) return void to.write(bytes.subarray(from));
      const part = bytes.subarray(from, from + PIECE);
      await Promise.race([delay((part.length / this.link.rate) * 1_000), this.signal.told()]);
      to.write(part);
    }
  }

  /** Whole lines of statistics at a time; anything else at once. */
  #shown(bytes: Buffer, clients: ClientPorts): Buffer {
    const text = this.#rest + bytes.toString("latin1");
    const last = text.lastIndexOf("\n") + 1;
    const isStatistic = text.length > last && "STAT ".startsWith(text.slice(last, last + 5));
    const whole = isStatistic ? last : text.length;
    this.#rest = text.slice(whole);
    return Buffer.from(clients.shown(text.slice(0, whole)), "latin1");
  }
}

function closing(socket: Socket): Promise<void> {
  if (socket.destroyed) return Promise.resolve();
  return new Promise((resolve) => socket.once("close", () => resolve()));
}
