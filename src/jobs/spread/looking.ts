import type { DifferenceClass } from "../../core/compare.js";
import type { Sid } from "../../core/session.js";
import type { Finding } from "../examiner.js";
import type { Planting } from "../plant.js";
import type { Looked } from "../survey.js";
import type { Tally } from "../tally.js";
import type { Dispatcher } from "./dispatcher.js";
import { unsealSids } from "./pieces.js";

/**
 * Batches of a check that are looked at by workers. Each answer is taken into the tally once; what it says about
 * planted sessions goes to whoever planted them; and the generation under which it was looked at is compared with the
 * run's, since a check that saw two of them is no evidence.
 */
export class SpreadLooking {
  #strange: string | null = null;

  constructor(
    readonly dispatcher: Dispatcher,
    readonly tally: Tally,
    readonly planting: Pick<Planting, "observe">,
    readonly generation: string,
    readonly how: { readonly ttlTolerance: number; readonly readOnly: boolean },
    readonly signal: AbortSignal | undefined,
  ) {}

  get strangeGeneration(): string | null {
    return this.#strange;
  }

  look(sids: readonly Sid[]): Promise<Looked | null> {
    return this.#examine(sids, "legacy");
  }

  async lookBeyond(sids: readonly Sid[]): Promise<boolean> {
    return (await this.#examine(sids, "redis")) !== null;
  }

  /** A worker answers only when it has nothing more to find out about its batch. */
  async finish(): Promise<void> {}

  async #examine(sids: readonly Sid[], side: "legacy" | "redis"): Promise<Looked | null> {
    if (sids.length === 0) return { notYet: 0, absent: 0 };
    try {
      const { secrets } = this.dispatcher;
      const examined = await this.dispatcher.examine(sids, { side, ...this.how });
      if (examined.generation !== this.generation) this.#strange = examined.generation;
      this.tally.absorb({ ...examined, equal: unsealSids(secrets, examined.equal) } as Parameters<Tally["absorb"]>[0]);
      for (const { sid, class: name, authority, later } of examined.planted) {
        const finding: Finding = {
          ...{ sid: secrets.unseal(sid) ?? "", class: name as DifferenceClass },
          ...{ authority, paths: [], later },
        };
        this.planting.observe(finding);
      }
      return examined;
    } catch (error) {
      if (this.signal?.aborted) return null;
      throw error;
    }
  }
}
