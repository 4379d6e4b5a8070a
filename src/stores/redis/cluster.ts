import { drawn } from "../../core/drawn.js";
import { FerryError } from "../../errors.js";
import { type CallLimits, RedisRefused, RedisUnreachable } from "../../ports/redis-records.js";
import { placesBy } from "./by-slot.js";
import type { Connection } from "./connection.js";
import { Moved, NotYet } from "./failures.js";
import { Lanes } from "./lanes.js";
import { Link } from "./link.js";
import type { Layout, Perform, PerformAt, Shard, Shards } from "./shards.js";
import { SLOTS } from "./slots.js";
import { type ClusterNode, parseNodes } from "./topology.js";
import { Waiters } from "./waiters.js";

export interface ServerAddress {
  readonly host: string;
  readonly port: number;
}

export interface ClusterOptions {
  /** Servers of the Cluster that are asked first who the others are. */
  readonly seeds: readonly ServerAddress[];
  readonly connect: (server: ServerAddress) => Promise<Connection>;
  /** CLUSTER NODES, over a connection of its own. */
  readonly ask: (server: ServerAddress) => Promise<string>;
  /** See `parseNodes`. */
  readonly byName: boolean;
}

/** Milliseconds between two looks whether every master is connected. */
const LOOK = 200;
/** Milliseconds until a slot that is on its way, or a Cluster that is down, is asked again. */
const PAUSE = { moving: 3, down: 50 };
/** Times that a call is sent elsewhere before it pauses: servers may disagree for a moment. */
const DIRECT = 3;
/** Slots that a server is asked about at one time: a request that is served meanwhile waits so long at each of its turns. */
const AT_ONCE = 64;
/** For a server's view of the Cluster. */
const VIEW: CallLimits = { deadline: 1_000, hold: false };
/** Milliseconds for which calls to a server that is no master any more may still be under way. */
const FAREWELL = 10_000;

interface Master extends ServerAddress {
  readonly link: Link;
  readonly lanes: Lanes;
  slots: number[];
}

/**
 * The masters of a Redis Cluster, each with a link of its own, and the way to each slot. The driver's own Cluster client
 * is not used: it sends commands again by itself, which breaks the protocol, and takes some keys for another slot's.
 *
 * A command that comes to the wrong server has done nothing there and is answered with the right one (MOVED), or with one
 * that the slot is on its way to (ASK). While some of a script's keys are there and some are here, and where the slot has
 * not arrived wholly also while some are nowhere, the answer is TRYAGAIN: a slot on its way is silent for a moment. All
 * three are looked after here until the call's deadline.
 */
export class Cluster implements Shards {
  readonly #masters = new Map<string, Master>();
  /** Masters that were: what was sent to them may be answered yet. */
  readonly #former = new Set<Master>();
  #owners: (Master | undefined)[] = [];
  /** Servers that may know the others, whether they are masters or not. */
  #acquaintances: readonly ServerAddress[];
  #failure: Error | null = null;
  #ended = false;
  /** Somebody was sent elsewhere, or found nobody. */
  #isDoubtful = true;
  #refreshing: Promise<void> | null = null;
  #wake: () => void = () => {};
  readonly #changed = new Waiters();
  readonly first: Promise<Error | null>;

  constructor(private readonly options: ClusterOptions) {
    this.#acquaintances = options.seeds;
    this.first = this.#begin();
    void this.first.then(() => this.#keepWatch());
  }

  run<T>(slot: number, limits: CallLimits, perform: Perform<T>): Promise<T> {
    return this.#route(slot, limits, ({ link }, left, asking) =>
      link.run(left, asking ? (call) => perform(call.asking()) : perform),
    );
  }

  runReplicated<T>(slot: number, limits: CallLimits, replicas: number, perform: Perform<T>): Promise<T> {
    return this.#route(slot, limits, ({ lanes }, left, asking) =>
      lanes.run(left, replicas, asking ? (call) => perform(call.asking()) : perform),
    );
  }

  async runEach<T>(slots: readonly number[], limits: CallLimits, perform: PerformAt<T>): Promise<T[]> {
    const answers = new Array<T>(slots.length);
    const alone = async (place: number) => {
      const slot = slots[place]!;
      answers[place] = await this.run(slot, limits, (call) => perform(call, slot));
    };
    const together = (master: Master, places: readonly number[]) =>
      master.link.run(limits, async (call) => {
        const left: number[] = [];
        const one = async (place: number) => {
          try {
            answers[place] = await perform(call, slots[place]!);
          } catch (error) {
            if (!(error instanceof Moved || error instanceof NotYet)) throw error;
            left.push(place);
          }
        };
        await Promise.all(places.map(one));
        return left;
      });
    const orAlone = (master: Master, piece: readonly number[]) => (error: unknown) => {
      if (this.#mayHelp(error, master, limits.hold)) return piece;
      throw error;
    };
    const places = placesBy(slots, (slot) => this.#owners[slot]);
    const all = [...places].map(async ([master, here]) => {
      for (let from = 0; from < here.length; from += AT_ONCE) {
        const piece = here.slice(from, from + AT_ONCE);
        const left = master === undefined ? piece : await together(master, piece).catch(orAlone(master, piece));
        await Promise.all(left.map(alone));
      }
    });
    await Promise.all(all);
    return answers;
  }

  async all(): Promise<readonly Shard[]> {
    await this.#refresh();
    for (let slot = 0; slot < SLOTS; slot++) {
      if (this.#owners[slot] === undefined) throw new RedisUnreachable("A slot of Redis has no server.", false);
    }
    return [...this.#masters.values()].map((master) => ({
      slots: master.slots,
      run: (limits, perform) =>
        master.link.run(limits, perform).catch((error: unknown) => {
          if (!this.#isLeft(error, master)) throw error;
          throw new RedisUnreachable("A server of Redis is no master any more.", false);
        }),
    }));
  }

  async layout(limits: CallLimits): Promise<Layout> {
    const views = (await this.all()).map(async (shard) => {
      const text = await shard.run(limits, ({ connection }) => connection.send("CLUSTER", "NODES"));
      return parseNodes(String(text), "", false).filter(({ isMyself }) => isMyself);
    });
    const servers = (await Promise.all(views)).flat();
    return {
      text: servers
        .map(({ holding }) => holding)
        .sort()
        .join("\n"),
      isMoving: servers.some(({ isMoving }) => isMoving),
    };
  }

  runOf(slot: number): string | null {
    return this.#owners[slot]?.link.runId ?? null;
  }

  samples(): readonly number[] {
    const samples = [...this.#masters.values()].flatMap(({ slots }) => slots.slice(0, 1));
    return samples.length === 0 ? [0] : samples;
  }

  beside(slot: number): readonly number[] {
    return this.#owners[slot]?.slots ?? [slot];
  }

  end(): void {
    this.#ended = true;
    this.#wake();
    for (const master of [...this.#masters.values(), ...this.#former]) endOf(master);
    this.#changed.wake();
  }

  async #route<T>(
    slot: number,
    limits: CallLimits,
    attempt: (master: Master, left: CallLimits, asking: boolean) => Promise<T>,
  ): Promise<T> {
    const until = performance.now() + limits.deadline;
    let asked: Master | null = null;
    for (let sent = 0; ; ) {
      const master: Master = asked ?? this.#owners[slot] ?? (await this.#ownerOf(slot, until, limits.hold));
      const left = Math.max(1, until - performance.now());
      try {
        return await attempt(master, { ...limits, deadline: left }, asked !== null);
      } catch (error) {
        asked = null;
        if (error instanceof Moved) asked = this.#directed(error, master);
        else if (!this.#mayHelp(error, master, limits.hold)) throw error;
        const pause = error instanceof NotYet ? pauseAfter(error) : ++sent > DIRECT ? PAUSE.moving : 0;
        if (performance.now() + pause >= until) throw error instanceof Moved ? onItsWay() : error;
        if (pause > 0) await this.#changed.wait(pause);
      }
    }
  }

  /** Where a server has sent a call to; null where it is the slot's own from now on. */
  #directed({ slot, address, asking }: Moved, from: Master): Master | null {
    const colon = address.lastIndexOf(":");
    const host = address.slice(0, colon).replace(/^\[(.*)\]$/, "$1") || from.host;
    const master = this.#masterAt({ host, port: Number(address.slice(colon + 1)) });
    if (asking) return master;
    this.#owners[slot] = master;
    this.#doubt();
    return null;
  }

  /** Whether a call that failed has done nothing, and somebody else may take it, or the same server a little later. */
  #mayHelp(error: unknown, master: Master, hold: boolean): boolean {
    if (error instanceof NotYet && error.word === "TRYAGAIN") return true;
    this.#doubt();
    return error instanceof NotYet ? hold : this.#isLeft(error, master);
  }

  /** Whether a call waited for a server until that was no master any more. */
  #isLeft(error: unknown, master: Master): boolean {
    const isMaster = this.#masters.get(nameOf(master)) === master;
    return error instanceof FerryError && error.code === "CLOSED" && !this.#ended && !isMaster;
  }

  async #ownerOf(slot: number, until: number, hold: boolean): Promise<Master> {
    for (;;) {
      if (this.#ended) throw closed();
      const owner = this.#owners[slot];
      if (owner !== undefined) return owner;
      this.#doubt();
      const left = until - performance.now();
      if (left <= 0 || (this.#failure !== null && !hold)) {
        const cause = this.#failure ?? undefined;
        throw new RedisUnreachable(cause?.message ?? "There is no connection to Redis yet.", false, { cause });
      }
      await this.#changed.wait(left);
    }
  }

  #masterAt(server: ServerAddress): Master {
    if (this.#ended) throw closed();
    const name = nameOf(server);
    let master = this.#masters.get(name);
    if (master === undefined) {
      const { host, port } = server;
      const open = () => new Link(() => this.options.connect({ host, port }));
      master = { host, port, link: open(), lanes: new Lanes(open), slots: [] };
      this.#masters.set(name, master);
    }
    return master;
  }

  async #begin(): Promise<Error | null> {
    try {
      await this.#refresh();
    } catch (error) {
      return error as Error;
    }
    const failures = await Promise.all([...this.#masters.values()].map(({ link }) => link.first));
    return failures.find((failure) => failure !== null) ?? null;
  }

  /** Looks anew at who has which slot as long as there is a doubt. */
  async #keepWatch(): Promise<void> {
    while (!this.#ended) {
      const isWhole = [...this.#masters.values()].every(({ link }) => link.isConnected);
      if (this.#isDoubtful || !isWhole) await this.#refresh().catch(() => {});
      if (this.#ended) return;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, LOOK);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  #doubt(): void {
    this.#isDoubtful = true;
  }

  #refresh(): Promise<void> {
    this.#refreshing ??= this.#look().finally(() => {
      this.#refreshing = null;
    });
    return this.#refreshing;
  }

  /** Asks one server after another, those first to which there is a connection, until one tells who has which slot. */
  async #look(): Promise<void> {
    if (this.#ended) throw closed();
    this.#isDoubtful = false;
    const connected = [...this.#masters.values()].filter(({ link }) => link.isConnected);
    const views: View[] = [
      ...drawn(connected).map(({ host, link }) => ({
        host,
        ask: () => link.run(VIEW, ({ connection }) => connection.send("CLUSTER", "NODES")),
      })),
      ...this.#acquaintances.map((server) => ({ host: server.host, ask: () => this.options.ask(server) })),
    ];
    try {
      const nodes = await firstView(views, this.options.byName);
      if (!this.#ended) this.#adopt(nodes);
    } catch (error) {
      this.#isDoubtful = true;
      this.#failure = error as Error;
      this.#changed.wake();
      throw error;
    }
  }

  /** What waits for a connection to it looks elsewhere at once. */
  #leave(master: Master): void {
    if (!master.link.isConnected) {
      endOf(master);
      return;
    }
    this.#former.add(master);
    setTimeout(() => {
      this.#former.delete(master);
      endOf(master);
    }, FAREWELL).unref();
  }

  #adopt(nodes: readonly ClusterNode[]): void {
    const owners: (Master | undefined)[] = new Array(SLOTS);
    const there = new Set<Master>();
    for (const { host, port, isMaster, hasFailed, slots } of nodes) {
      if (!isMaster || (hasFailed && slots.length === 0)) continue;
      const master = this.#masterAt({ host, port });
      there.add(master);
      master.slots = [];
      for (const [first, last] of slots) {
        for (let slot = first; slot <= last && slot < SLOTS; slot++) {
          owners[slot] = master;
          master.slots.push(slot);
        }
      }
    }
    for (const [name, master] of this.#masters) {
      if (there.has(master)) continue;
      this.#masters.delete(name);
      this.#leave(master);
    }
    this.#owners = owners;
    this.#acquaintances = [...this.options.seeds, ...nodes.map(({ host, port }) => ({ host, port }))];
    this.#failure = null;
    this.#changed.wake();
  }
}

interface View {
  readonly host: string;
  readonly ask: () => Promise<unknown>;
}

/** Asks one after another, until one tells. @throws FerryError where no waiting helps, or else RedisUnreachable */
async function firstView(views: readonly View[], byName: boolean): Promise<ClusterNode[]> {
  const failures: Error[] = [];
  for (const { host, ask } of views) {
    try {
      const nodes = parseNodes(String(await ask()), host, byName);
      if (nodes.length > 0) return nodes;
      failures.push(new Error("it does not tell its Cluster (CLUSTER NODES)"));
    } catch (error) {
      failures.push(error as Error);
    }
  }
  const failure = failures.find((each) => each instanceof FerryError || each instanceof RedisRefused) ?? failures[0]!;
  if (failure instanceof FerryError || failure instanceof RedisRefused) throw failure;
  throw new RedisUnreachable(failure.message, false, { cause: failure });
}

/** As the first of the seeds that answers knows them. */
export function askNodes({ seeds, ask, byName }: ClusterOptions): Promise<ClusterNode[]> {
  return firstView(
    seeds.map((server) => ({ host: server.host, ask: () => ask(server) })),
    byName,
  );
}

function endOf({ link, lanes }: Master): void {
  lanes.end();
  link.end();
}

function pauseAfter({ word }: NotYet): number {
  return word === "TRYAGAIN" ? PAUSE.moving : PAUSE.down;
}

const onItsWay = () => new RedisUnreachable("A slot of Redis is on its way between two servers.", false);

const closed = () => new FerryError("CLOSED", "The connection to Redis was closed.");

const nameOf = ({ host, port }: ServerAddress) => `${host}:${port}`;
