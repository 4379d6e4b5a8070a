import type { Session } from "../../src/core/session.js";
import type { LegacyStore } from "../../src/ports/legacy-store.js";
import { SECRETS } from "./judge.js";

/** The session that every store is asked for; nothing of it may show in an error. */
export const SID = `sid-${SECRETS.sid}`;

export const session = (flags: number): Session => ({
  value: Buffer.from(JSON.stringify({ cookie: {}, user: SECRETS.value })),
  flags,
  expiresAt: Date.now() + 3_600_000,
});

/** Everything that a legacy store can be asked, by name; `flags` as its own sessions have them. */
export function legacyVerbs<Store extends LegacyStore & { describe(): Promise<unknown> }>(flags: number) {
  return {
    get: (store: Store) => store.get(SID),
    getMany: (store: Store) => store.getMany([SID, `${SID}-2`]),
    set: (store: Store) => store.set(SID, session(flags)),
    touch: (store: Store) => store.touch(SID, Date.now() + 60_000),
    destroy: (store: Store) => store.destroy(`${SID}-gone`),
    drain: async (store: Store) => {
      const [token] = await store.tokens([SID]);
      return token ? store.applyIf([{ token, session: session(flags) }]) : null;
    },
    list: async (store: Store) => {
      const sids: string[] = [];
      for await (const page of store.list({ pageSize: 10 })) sids.push(...page);
      return sids.length;
    },
    count: (store: Store) => store.count(),
    identity: (store: Store) => store.identity(),
    now: (store: Store) => store.now(),
    describe: (store: Store) => store.describe(),
  };
}
