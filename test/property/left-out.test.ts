import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MemoryControlStore } from "../../src/control/memory.js";
import type { Phase, PhaseName, Phases, Position } from "../../src/core/phase.js";
import type { Session, Sid } from "../../src/core/session.js";
import type { NodeInfo } from "../../src/ports/control-store.js";
import type { Applied, ConditionalChange, Token } from "../../src/ports/legacy-store.js";
import { MemoryLegacyStore } from "../../src/stores/legacy-memory.js";
import { MemoryRedisRecords } from "../../src/stores/records-memory.js";
import { type Action, type Bounds, copying, draining, PHASES, play, polling, redisOutage, script } from "./play.js";
import type { WorldOptions } from "./world.js";

/** Each part of the protocol is there because leaving it out breaks a promise: here each is left out, and it breaks. */

class WithoutIntent extends MemoryRedisRecords {
  protected override leavesIntent(): boolean {
    return false;
  }
}
class WithoutCont extends MemoryRedisRecords {
  protected override overlaps(): boolean {
    return false;
  }
}
class WithoutLease extends MemoryRedisRecords {
  protected override leaseStands(): boolean {
    return true;
  }
}
class UnconditionalUndirty extends MemoryRedisRecords {
  protected override dirtyStands(): boolean {
    return true;
  }
}
class CarelessMark extends MemoryRedisRecords {
  protected override markSparesIntents(): boolean {
    return false;
  }
}

class BelievesRestarts extends MemoryRedisRecords {
  protected override acceptsRestart(): boolean {
    return true;
  }
}

/** Nobody is waited for before an R that restarted is put right. */
class EverybodyDrained extends MemoryControlStore {
  override async nodes(): Promise<NodeInfo[]> {
    const nodes = await super.nodes();
    return nodes.map((node) => ({ ...node, report: { ...node.report, drained: Number.POSITIVE_INFINITY } }));
  }
}

/** The token is taken when L is changed, after R was read. */
class TokenLast extends MemoryLegacyStore {
  override async applyIf(changes: readonly ConditionalChange[]): Promise<Applied[]> {
    const tokens = await super.tokens(changes.map(({ token }) => token.sid));
    return super.applyIf(changes.map(({ session }, i) => ({ token: tokens[i]!, session })));
  }
}

/** A token that means "absent" instead of a placeholder's. */
class WithoutPlaceholder extends MemoryLegacyStore {
  override async tokens(sids: readonly Sid[]): Promise<(Token | null)[]> {
    return Promise.all(
      sids.map(async (sid) => (this.peek(sid) === null ? { sid, absent: true } : (await super.tokens([sid]))[0]!)),
    );
  }
  override async applyIf(changes: readonly ConditionalChange[]): Promise<Applied[]> {
    return Promise.all(
      changes.map(async ({ token, session }): Promise<Applied> => {
        if (!("absent" in token)) return (await super.applyIf([{ token, session }]))[0]!;
        if (this.peek(token.sid) !== null) return "changed";
        await this.#put(token.sid, session);
        return "applied";
      }),
    );
  }
  async #put(sid: Sid, session: Session | null): Promise<void> {
    if (session === null) await this.destroy(sid);
    else await this.set(sid, session);
  }
}

function phasesWith(name: PhaseName, change: (phase: Phase) => Phase["ladder"]): Phases {
  return { ...PHASES, [name]: { ...PHASES[name], ladder: change(PHASES[name]) } };
}
const withoutRung = (phase: PhaseName, rung: string) =>
  phasesWith(phase, ({ ladder }) => ladder.filter(({ name }) => name !== rung));

const at = (phase: PhaseName, percent = 100): Position => ({ phase, percent });

const LEFT_OUT: Record<string, { variant: Partial<WorldOptions>; bounds: Bounds }> = {
  intent: {
    variant: { records: WithoutIntent },
    bounds: { starts: [at("read-through")], moves: [], trouble: copying, sids: 1 },
  },
  cont: {
    variant: { records: WithoutCont },
    bounds: { starts: [at("read-through")], moves: [], trouble: copying, sids: 1 },
  },
  lease: {
    variant: { records: WithoutLease },
    bounds: { starts: [at("read-through")], moves: [], trouble: copying, sids: 1 },
  },
  "token before R is read": {
    variant: { legacy: TokenLast },
    // A slow drainer has R's session in hand; another value comes to R, and another drainer brings it to L before.
    bounds: {
      starts: [at("redis-first")],
      moves: [],
      actions: [
        ...[0, 1, 2].flatMap((sid): Action[] => [
          { do: "set", node: 0, sid },
          { do: "set", node: 1, sid, jitter: 4 },
        ]),
        ...[0, 1, 2, 0, 1, 2].map((node): Action => ({ do: "drain", node })),
      ],
      linger: 0,
      lag: 0,
    },
  },
  "placeholder for an absent row": {
    variant: { legacy: WithoutPlaceholder },
    // A slow drainer has seen nothing in L and a session in R; others drain it, and then its destroy.
    bounds: {
      starts: [at("redis-first")],
      moves: [],
      actions: [
        { do: "set", node: 0, sid: 2 },
        { do: "drain", node: 0 },
        { do: "drain", node: 1 },
        { do: "destroy", node: 2, sid: 2 },
        { do: "drain", node: 1 },
      ],
    },
  },
  "conditional undirty": {
    variant: { records: UnconditionalUndirty },
    bounds: { starts: [at("redis-first")], moves: [], trouble: draining, sids: 1 },
  },
  "mark's care for open intents": {
    variant: { records: CarelessMark },
    // One node writes in a gap and flushes it while another's write, later in R but earlier in L, is still open.
    bounds: {
      starts: [at("dual-write")],
      moves: [],
      actions: [
        { do: "redis", down: true },
        // The first that is missed may have arrived, and is closed for that; the next one is known not to have.
        { do: "set", node: 0, sid: 1 },
        { do: "set", node: 0, sid: 0 },
        { do: "redis", down: false },
        { do: "set", node: 1, sid: 0 },
        ...[5, 10, 15, 20].map((jitter): Action => ({ do: "poll", node: 0, jitter })),
      ],
      linger: 40,
      lag: 0,
    },
  },
  "the first barrier (no gap before anybody reads R)": {
    variant: { phases: withoutRung("read-through", "no-gap") },
    bounds: { starts: [at("dual-write")], moves: ["up"], trouble: fc.oneof(redisOutage, polling), sids: 1 },
  },
  "close with none while entering dual-write": {
    variant: {
      phases: phasesWith("dual-write", ({ ladder }) =>
        ladder.flatMap((rung) =>
          rung.name === "mirror-begins"
            ? []
            : rung.name === "dual-write"
              ? [{ ...rung, enter: ["drop-records"] }]
              : [rung],
        ),
      ),
    },
    // One node mirrors already; another, still in legacy, changes L after it.
    bounds: {
      starts: [at("dual-write", 10)],
      moves: ["up"],
      actions: [5, 8].flatMap((jitter, i): Action[] => [
        { do: "set", node: 0, sid: i + 1, after: 2, jitter },
        { do: "destroy", node: 1, sid: i + 1, after: 2, jitter: 2 * jitter },
      ]),
      linger: 0,
      lag: 15,
    },
  },
  "the drop of R's records before a second ascent": {
    variant: {
      phases: phasesWith("dual-write", ({ ladder }) => ladder.map(({ enter: _, ...rung }) => rung)),
    },
    bounds: { starts: [at("dual-write", 10)], moves: ["down", "up", "up", "up"], trouble: polling, sids: 1 },
  },
  "the doubt about an R that restarted while authority is divided": {
    variant: { records: BelievesRestarts },
    bounds: {
      starts: [at("redis-first", 10)],
      moves: [],
      actions: [{ do: "save" }, { do: "set", node: 0, sid: 1 }, { do: "restart" }, { do: "get", node: 1, sid: 1 }],
    },
  },
  "the wait for writes begun before R restarted": {
    variant: { control: EverybodyDrained },
    // A write stands between its open and L; R forgets the intent, and another node reads L too early.
    bounds: {
      starts: [at("redis-first", 10)],
      moves: [],
      actions: [
        { do: "set", node: 0, sid: 1 },
        { do: "restart" },
        ...[3, 8, 13].map((jitter): Action => ({ do: "poll", node: 1, jitter })),
        ...[30, 45, 60].map((jitter): Action => ({ do: "get", node: 1, sid: 1, jitter })),
      ],
      hesitate: 80,
      linger: 8,
      lag: 0,
    },
  },
};

const RUNS = 5_000;

describe("leaving out", () => {
  for (const [part, { variant, bounds }] of Object.entries(LEFT_OUT)) {
    it(part, async () => {
      const property = (world: Partial<WorldOptions>) =>
        fc.asyncProperty(script(bounds), fc.scheduler(), async (scenario, scheduler) => {
          await play(scenario, scheduler, world);
        });
      const broken = await fc.check(property(variant), { numRuns: RUNS, endOnFailure: true });
      expect(broken.failed, `${broken.numRuns} runs found nothing wrong without ${part}`).toBe(true);
      // The very run that fails without the part passes with it: what was found is the part's absence.
      const whole = await fc.check(property({}), { seed: broken.seed, path: broken.counterexamplePath!, numRuns: 1 });
      expect(whole.failed, JSON.stringify(whole.errorInstance)).toBe(false);
    }, 300_000);
  }
});
