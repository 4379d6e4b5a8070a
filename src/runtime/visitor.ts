import type { Config } from "../core/config.js";
import { newNodeId } from "../core/ids.js";
import { FerryError } from "../errors.js";
import type { ControlStore } from "../ports/control-store.js";
import { NO_FENCE } from "../ports/fence.js";
import type { LegacyStore } from "../ports/legacy-store.js";
import type { RedisRecords } from "../ports/redis-records.js";
import { openControlOf, openLegacy, openRecords, type RedisPatience } from "./open.js";

/** All three stores, for looking and for administration: no node, no fence, no ferry. */
export interface Visitor {
  readonly node: string;
  readonly control: ControlStore;
  readonly legacy: LegacyStore;
  readonly records: RedisRecords;
  close(): Promise<void>;
}

/** How long a closing visitor waits for stores that hang. */
const GOODBYE = 1_000;

/**
 * Opens all stores without asking them anything: one that is away is told by its first question.
 * @param patience how long questions to Redis may take; a command that only looks is soon told that it is away.
 */
export async function openVisitor(config: Config, patience: RedisPatience = {}): Promise<Visitor> {
  const node = newNodeId();
  const opener = { node, fence: NO_FENCE };
  const [legacy, control, records] = await Promise.all([
    openLegacy(config, opener),
    openControlOf(config, node),
    openRecords(config, opener, patience).catch(failing),
  ]);
  return {
    node,
    control,
    legacy,
    records,
    async close() {
      const closed = Promise.allSettled([legacy.close(), records.end(), control.close()]);
      await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, GOODBYE).unref())]);
    },
  };
}

/** A wrong password is told by the first question, as an absent server is. */
function failing(error: unknown): RedisRecords {
  if (!(error instanceof FerryError)) throw error;
  const reject = () => Promise.reject(error);
  const answers: Partial<RedisRecords> = { generation: "", end: async () => {} };
  return new Proxy(answers, {
    get: (target, name) => {
      // A promise is told by its `then`: this is none.
      if (name === "then") return undefined;
      return Reflect.get(target, name) ?? reject;
    },
  }) as RedisRecords;
}
