import type { CallLimits } from "../../ports/redis-records.js";
import type { Connection } from "./connection.js";
import { Lanes } from "./lanes.js";
import { type Call, Link } from "./link.js";

export type Perform<T> = (call: Call) => Promise<T>;
export type PerformAt<T> = (call: Call, slot: number) => Promise<T>;

/** One server of R, with the slots that it has. */
export interface Shard {
  readonly slots: readonly number[];
  run<T>(limits: CallLimits, perform: Perform<T>): Promise<T>;
}

/** How the slots lie on the servers at one moment. */
export interface Layout {
  /** Equal texts mean that no slot went from one server to another in between. */
  readonly text: string;
  /** Whether a slot is on its way. */
  readonly isMoving: boolean;
}

/** The servers of R and what lies where: one server with one slot, or the masters of a Redis Cluster. */
export interface Shards {
  /** Resolves with the end of the first attempt to connect: null when it succeeded. */
  readonly first: Promise<Error | null>;
  /**
   * Performs at the server of this slot. In a Cluster `perform` is begun anew, within the deadline, where a command of
   * it was told to go elsewhere or to wait: so only its last command may change anything.
   */
  run<T>(slot: number, limits: CallLimits, perform: Perform<T>): Promise<T>;
  /** The same for a write that so many replicas must have before it is answered. */
  runReplicated<T>(slot: number, limits: CallLimits, replicas: number, perform: Perform<T>): Promise<T>;
  /** `run` for each of these slots, with few calls to each server; answers in their order. */
  runEach<T>(slots: readonly number[], limits: CallLimits, perform: PerformAt<T>): Promise<T[]>;
  /** Every server as of now, those without slots too. Rejects unless each slot has one. */
  all(): Promise<readonly Shard[]>;
  layout(limits: CallLimits): Promise<Layout>;
  /** One slot of each server that is known to have any; at least one. */
  samples(): readonly number[];
  /** Every slot of the server that has this one. */
  beside(slot: number): readonly number[];
  /** Of the server of this slot, while it is connected. */
  runOf(slot: number): string | null;
  end(): void;
}

const ONLY = [0];
const AT_REST: Layout = { text: "", isMoving: false };

/** One server, or the master of a Sentinel group. */
export class OneServer implements Shards {
  readonly #link: Link;
  readonly #lanes: Lanes;

  constructor(connect: () => Promise<Connection>) {
    this.#link = new Link(connect);
    this.#lanes = new Lanes(() => new Link(connect));
  }

  get first(): Promise<Error | null> {
    return this.#link.first;
  }

  runOf(): string | null {
    return this.#link.runId;
  }

  run<T>(_slot: number, limits: CallLimits, perform: Perform<T>): Promise<T> {
    return this.#link.run(limits, perform);
  }

  runReplicated<T>(_slot: number, limits: CallLimits, replicas: number, perform: Perform<T>): Promise<T> {
    return this.#lanes.run(limits, replicas, perform);
  }

  async runEach<T>(slots: readonly number[], limits: CallLimits, perform: PerformAt<T>): Promise<T[]> {
    return Promise.all(slots.map((slot) => this.#link.run(limits, (call) => perform(call, slot))));
  }

  async all(): Promise<readonly Shard[]> {
    return [{ slots: ONLY, run: (limits, perform) => this.#link.run(limits, perform) }];
  }

  async layout(): Promise<Layout> {
    return AT_REST;
  }

  samples(): readonly number[] {
    return ONLY;
  }

  beside(): readonly number[] {
    return ONLY;
  }

  end(): void {
    this.#lanes.end();
    this.#link.end();
  }
}
