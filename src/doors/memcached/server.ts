import type { Socket } from "node:net";
import { Budget } from "./budget.js";
import { Connection, type ConnectionOptions } from "./connection.js";
import { Executor, type ExecutorOptions } from "./executor.js";
import { type Listening, listen } from "./listeners.js";
import { isAccepted } from "./login.js";
import type { Door, DoorCounters, DoorEvent, DoorLimits, DoorOptions, Listener, Ways } from "./options.js";
import { Output } from "./output.js";
import { ownStats, SPOKEN } from "./own-stats.js";
import { RelayPool } from "./relay-pool.js";

export type * from "./options.js";

export const DEFAULT_LIMITS: DoorLimits = {
  connections: 1024,
  itemSize: 1024 * 1024,
  memory: 256 * 1024 * 1024,
  idle: 0,
  stall: 60_000,
};

const SWEEP_EVERY = 1_000;
const TOO_MANY = "ERROR Too many open connections\r\n";

/** Resolves when every listener listens; rejects with CONFIG_INVALID where one cannot, and listens nowhere then. */
export async function openDoor(options: DoorOptions): Promise<Door> {
  const door = new MemcachedDoor(options);
  try {
    for (const listener of options.listeners) await door.listen(listener);
  } catch (error) {
    await door.close();
    throw error;
  }
  return door;
}

/** What the connections of a listener have in common. */
interface Common {
  readonly connection: Omit<ConnectionOptions, "executor">;
  readonly executor: ExecutorOptions;
}

class MemcachedDoor implements Door {
  readonly #limits: DoorLimits;
  readonly #relays: RelayPool[] = [];
  readonly #listening: Listening[] = [];
  readonly #connections = new Set<Connection>();
  readonly #forConnections: Omit<ConnectionOptions, "executor" | "relays">;
  readonly #startedAt = Date.now();
  readonly #sweeper: NodeJS.Timeout;
  readonly #counts = { opened: 0, refused: 0, cut: 0, commands: 0, failures: 0, read: 0, written: 0 };
  /** Of listeners that have no ways of their own. */
  #own: Common | null = null;
  #draining = false;
  #allGone: () => void = () => {};

  constructor(private readonly options: DoorOptions) {
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    const { sasl = null } = options;
    const counts = this.#counts;
    this.#forConnections = {
      out: new Output(),
      budget: new Budget(this.#limits.memory),
      itemSize: this.#limits.itemSize,
      tokens: options.tokens ?? true,
      authenticate: sasl === null ? null : (who) => this.#authenticate(who !== null && isAccepted(sasl, who)),
      cut: (reason) => {
        counts.cut++;
        this.#tell({ type: "door-cut", reason });
      },
      commands: (count) => {
        counts.commands += count;
      },
      failed: (count, error) => {
        counts.failures += count;
        this.#tell({ type: "door-failure", verb: "relayed", error });
      },
    };
    this.#sweeper = setInterval(() => this.#sweep(), SWEEP_EVERY).unref();
  }

  get addresses(): readonly string[] {
    return this.#listening.map(({ address }) => address);
  }

  get connections(): number {
    return this.#connections.size;
  }

  get counters(): DoorCounters {
    const { opened, refused, cut, commands, failures, read, written } = this.#counts;
    let [bytesRead, bytesWritten] = [read, written];
    for (const { socket } of this.#connections) {
      bytesRead += socket.bytesRead;
      bytesWritten += socket.bytesWritten;
    }
    return {
      connectionsOpened: opened,
      connectionsRefused: refused,
      connectionsCut: cut,
      commands,
      failures,
      bytesRead,
      bytesWritten,
    };
  }

  async listen(listener: Listener): Promise<void> {
    this.#own ??= this.#common(this.options);
    const common = listener.ways === undefined ? this.#own : this.#common(listener.ways);
    this.#listening.push(await listen(listener, this.#limits.stall, (socket) => this.#connected(socket, common)));
  }

  #common({ bypass, keyspace, admin = null, relay }: Ways): Common {
    const { items, allowFlush = false } = this.options;
    const relays = relay ? new RelayPool(relay) : null;
    if (relays !== null) this.#relays.push(relays);
    const executor: ExecutorOptions = {
      items,
      bypass,
      keyspace,
      allowFlush,
      // What speaks is the door, whoever answers: a version is told even when memcached is away.
      version: async () => (await admin?.version().catch(() => SPOKEN)) ?? SPOKEN,
      stats: async (which) => (admin === null ? ownStats(this, which, this.#startedAt) : admin.stats(which)),
      failed: (verb, error) => {
        this.#counts.failures++;
        this.#tell({ type: "door-failure", verb, error });
      },
    };
    return { connection: { ...this.#forConnections, relays }, executor };
  }

  async drain(deadline: number): Promise<void> {
    this.#draining = true;
    for (const { server } of this.#listening) server.close();
    const gone = new Promise<void>((resolve) => {
      this.#allGone = resolve;
    });
    for (const connection of this.#connections) connection.drain();
    const late = setTimeout(() => {
      for (const connection of this.#connections) connection.cut("drain");
    }, deadline);
    if (this.#connections.size > 0) await gone;
    clearTimeout(late);
    for (const relays of this.#relays) relays.close();
    clearInterval(this.#sweeper);
  }

  async close(): Promise<void> {
    clearInterval(this.#sweeper);
    this.#draining = true;
    const closed = this.#listening.map(({ server }) => new Promise<void>((resolve) => server.close(() => resolve())));
    for (const { socket } of this.#connections) socket.destroy();
    for (const relays of this.#relays) relays.close();
    await Promise.all(closed);
  }

  #connected(socket: Socket, common: Common): void {
    if (this.#draining || this.#connections.size >= this.#limits.connections) {
      this.#counts.refused++;
      this.#tell({ type: "door-refusal", reason: "connections" });
      socket.on("error", () => {});
      socket.end(this.#draining ? "" : TOO_MANY);
      socket.destroySoon();
      return;
    }
    const connection = new Connection(socket, { ...common.connection, executor: new Executor(common.executor) });
    this.#counts.opened++;
    this.#connections.add(connection);
    this.#tell({ type: "door-connection", state: "opened" });
    socket.on("close", () => {
      this.#connections.delete(connection);
      this.#counts.read += socket.bytesRead;
      this.#counts.written += socket.bytesWritten;
      this.#tell({ type: "door-connection", state: "closed" });
      if (this.#connections.size === 0) this.#allGone();
    });
  }

  #authenticate(accepted: boolean): boolean {
    if (!accepted) this.#tell({ type: "door-refusal", reason: "authentication" });
    return accepted;
  }

  #sweep(): void {
    const now = performance.now();
    const { idle, stall } = this.#limits;
    for (const connection of this.#connections) connection.sweep(now, idle, stall);
  }

  #tell(event: DoorEvent): void {
    this.options.hooks?.event(event);
  }
}
