import { type CallLimits, RedisUnreachable } from "../../ports/redis-records.js";
import type { Call, Link } from "./link.js";
import { Waiters } from "./waiters.js";

/** Writes that may wait for replicas at one time. */
const LANES = 8;

interface Lane {
  readonly link: Link;
  busy: boolean;
}

/**
 * Connections for writes that wait until replicas have them. WAIT holds up its own connection, and everything that is
 * sent behind it would take effect much later than its caller was told; so each lane has one write under way at a time,
 * and a write that finds no free lane within its deadline is not sent.
 *
 * WAIT is not atomic: a write that too few replicas confirm stands all the same, and its outcome counts as unknown.
 */
export class Lanes {
  readonly #lanes: Lane[] = [];
  readonly #waiting = new Waiters();

  constructor(readonly open: () => Link) {}

  async run<T>(limits: CallLimits, replicas: number, perform: (call: Call) => Promise<T>): Promise<T> {
    const until = performance.now() + limits.deadline;
    const lane = await this.#free(until);
    let began = false;
    const deadline = Math.max(1, until - performance.now());
    try {
      return await lane.link.run({ ...limits, deadline }, async (call) => {
        began = true;
        try {
          const answer = await perform(call);
          call.check();
          const confirmed = await call.connection.send("WAIT", replicas, call.left).catch((error: Error) => {
            throw new RedisUnreachable("Nobody tells whether the replicas have the write.", true, { cause: error });
          });
          if ((confirmed as number) >= replicas) return answer;
          throw new RedisUnreachable(`Only ${confirmed} of ${replicas} replicas have the write.`, true);
        } finally {
          this.#release(lane);
        }
      });
    } catch (error) {
      // The lane of a call that ran out of time stays taken until R has answered.
      if (!began) this.#release(lane);
      throw error;
    }
  }

  end(): void {
    for (const { link } of this.#lanes) link.end();
  }

  async #free(until: number): Promise<Lane> {
    for (;;) {
      const lane = this.#next();
      if (lane !== undefined) {
        lane.busy = true;
        return lane;
      }
      const left = until - performance.now();
      if (left <= 0) throw new RedisUnreachable("Too many writes wait for replicas.", false);
      await this.#waiting.wait(left);
    }
  }

  /**
   * One that is connected goes first, and is waited for where there is one: what cannot connect now, since the control
   * store is away that the fence would ask, is free all the time, and would fail every write.
   */
  #next(): Lane | undefined {
    const free = this.#lanes.filter(({ busy }) => !busy);
    const connected = free.find(({ link }) => link.isConnected);
    if (connected !== undefined) return connected;
    const mayWait = this.#lanes.some(({ link }) => link.isConnected);
    if (this.#lanes.length < LANES) free.push(this.#another());
    return mayWait ? undefined : free[0];
  }

  #another(): Lane {
    const lane = { link: this.open(), busy: false };
    this.#lanes.push(lane);
    void lane.link.first.then(() => this.#waiting.wakeOne());
    return lane;
  }

  #release(lane: Lane): void {
    lane.busy = false;
    this.#waiting.wakeOne();
  }
}
