import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Sid } from "../../src/core/session.js";
import type { Applied, ConditionalChange } from "../../src/ports/legacy-store.js";
import type { ConditionalAnswer, ConditionalVerb, Mode, RecordView } from "../../src/ports/redis-records.js";
import { MemoryLegacyStore } from "../../src/stores/legacy-memory.js";
import { MemoryRedisRecords } from "../../src/stores/records-memory.js";
import { type Action, assertProtocol, type Bounds, draining, eviction, play, polling, RUNS, script } from "./play.js";
import type { WorldOptions } from "./world.js";

/** Intents of others end in this world: nobody stops waiting for them. */
const FORGETFUL = { lossy: true, limits: { redis: 50, request: 50_000 } } as const;
const READ_THROUGH = { phase: "read-through", percent: 100 } as const;

describe("the protocol, over a store that forgets", () => {
  it("keeps what Redis keeps: nobody is logged out by an eviction, and nothing destroyed comes back", async () => {
    const starts = [
      { phase: "dual-write", percent: 100 },
      { phase: "read-through", percent: 10 },
      READ_THROUGH,
      { phase: "redis-first", percent: 100 },
    ] as const;
    // A forced copy drops what R holds: nobody asks for one where L may have lost it.
    const copying = fc.record({ do: fc.constant("copy" as const), node: fc.nat(2), force: fc.constant(false) });
    const trouble = fc.oneof({ weight: 6, arbitrary: eviction }, copying, draining, polling);
    const runs = Math.ceil(RUNS / 5);
    await assertProtocol({ starts, trouble }, runs, FORGETFUL);
    await assertProtocol({ starts, trouble, sids: 1 }, runs, FORGETFUL);
  }, 600_000);
});

/** A touch opens its intent beside others. */
class Impatient extends MemoryRedisRecords {
  override openIf(
    sid: Sid,
    intent: string,
    mode: Mode,
    verb: ConditionalVerb,
    lease: string | null,
    known: boolean,
    dirty: string,
  ): Promise<ConditionalAnswer> {
    return super.openIf(sid, intent, mode, { ...verb, alone: false }, lease, known, dirty);
  }
}

/** Whoever gives a session back does not mind that others opened intents beside his. */
class MindsNobody extends MemoryRedisRecords {
  override async view(sids: readonly Sid[]): Promise<RecordView[]> {
    const views = await super.view(sids);
    return views.map((view) => ({ ...view, state: `I${view.intents[0]}` }));
  }
}

/** L's token is taken when it is used. */
class TokenLast extends MemoryLegacyStore {
  override async applyIf(changes: readonly ConditionalChange[]): Promise<Applied[]> {
    const tokens = await super.tokens(changes.map(({ token }) => token.sid));
    return super.applyIf(changes.map(({ session }, i) => ({ token: tokens[i]!, session })));
  }
}

const touches = [0, 1, 2].map((node): Action => ({ do: "touch", node, sid: 0 }));
const LEFT_OUT: Record<string, { variant: Partial<WorldOptions>; actions: readonly Action[] }> = {
  "the wait for one's turn": {
    variant: { records: Impatient },
    actions: [{ do: "evict", sid: 0 }, ...touches],
  },
  "the look whether others stand beside": {
    variant: { records: MindsNobody },
    actions: [{ do: "evict", sid: 0 }, ...touches, { do: "destroy", node: 1, sid: 0, jitter: 8 }],
  },
  "the token before R is looked at": {
    variant: { legacy: TokenLast },
    actions: [{ do: "evict", sid: 0 }, ...touches, { do: "destroy", node: 1, sid: 0, jitter: 8 }],
  },
};

describe("leaving out of what is given back", () => {
  for (const [part, { variant, actions }] of Object.entries(LEFT_OUT)) {
    it(part, async () => {
      const bounds: Bounds = { starts: [READ_THROUGH], moves: [], actions, linger: 0, lag: 0 };
      const property = (world: Partial<WorldOptions>) =>
        fc.asyncProperty(script(bounds), fc.scheduler(), async (scenario, scheduler) => {
          await play(scenario, scheduler, { ...FORGETFUL, ...world });
        });
      const broken = await fc.check(property(variant), { numRuns: 5_000, endOnFailure: true });
      expect(broken.failed, `${broken.numRuns} runs found nothing wrong without ${part}`).toBe(true);
      const whole = await fc.check(property({}), { seed: broken.seed, path: broken.counterexamplePath!, numRuns: 1 });
      expect(whole.failed, JSON.stringify(whole.errorInstance)).toBe(false);
    }, 300_000);
  }
});
