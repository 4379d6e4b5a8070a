import { isLocated, located, restOf, serverOf } from "../../core/place.js";
import type { Sid } from "../../core/session.js";
import type { Fence } from "../../ports/fence.js";
import type { ItemResult, ItemVerb, ItemWishes } from "../../ports/items.js";
import { LATE, within } from "../deadline.js";
import { dumpKeys } from "./dump.js";
import { MemcachedItems } from "./item-verbs.js";
import { ageCommand, ageOf, deleteCommand, hit, identifyCommand } from "./items.js";
import type { Places } from "./places.js";
import { flag } from "./protocol.js";

export interface PoolOptions {
  readonly deadline: number;
  readonly fence: Fence;
  /** The sids, located where the other store knows to which server they belong. May reject: then nobody knows. */
  readonly owners?: ((rests: readonly Sid[]) => Promise<readonly Sid[]>) | undefined;
}

/** Milliseconds that a destroy waits for servers on which there should be nothing to destroy. */
const ELSEWHERE = 250;
/** Sessions that are asked for at once. */
const PAGE = 1000;

/**
 * Several memcached servers of which the application's client chooses by a rule that only it knows: every request says
 * by its listener which server it is about.
 *
 * Two servers may hold a session of the same id: the client went to another one while the first was away, or servers
 * were added, and the old copy stayed. The client looks for a session on one server only, so only one copy is the
 * session, and this is kept:
 *   A listing names one server for a session, and no other copy of it is ever copied, compared or counted. Which it is,
 *   R says, where it was told by a client's own request; else the copy that clients used last, else the one that lives
 *   longest. A destroy removes the others, too, so that none of them can be taken for the session later.
 */
export class Pool {
  /** Copies that the last listing left out. */
  #duplicates: readonly Sid[] | null = null;

  constructor(
    private readonly places: Places,
    private readonly options: PoolOptions,
  ) {}

  /** With the server that holds each, where a sid says none; see above for which. Where none does, some server. */
  async locate(sids: readonly Sid[]): Promise<readonly Sid[]> {
    const rests = sids.filter((sid) => !isLocated(sid));
    if (rests.length === 0) return sids;
    const found = await this.#judge(rests);
    return sids.map((sid) => (isLocated(sid) ? sid : (found.get(sid) ?? this.places.someServer(sid))));
  }

  /** One located sid for each session of all servers, in no order. */
  async list(signal?: AbortSignal): Promise<Sid[]> {
    const { deadline, fence } = this.options;
    const firsts = new Map<Sid, number>();
    const several = new Map<Sid, number[]>();
    for (const [n, { server }] of this.places.links.entries()) {
      await dumpKeys(server, { deadline, fence, ...(signal && { signal }) }, (key) => {
        const sid = this.places.sidAt(server, key);
        if (sid === null) return;
        const rest = restOf(sid);
        const first = firsts.get(rest);
        if (first === undefined) firsts.set(rest, n);
        else several.set(rest, [...(several.get(rest) ?? [first]), n]);
      });
    }
    const judged = await this.#judge([...several.keys()]);
    const duplicates: Sid[] = [];
    for (const [rest, servers] of several) {
      const chosen = serverOf(judged.get(rest) ?? "") ?? servers[0]!;
      firsts.set(rest, chosen);
      duplicates.push(...servers.filter((n) => n !== chosen).map((n) => located(n, rest)));
    }
    this.#duplicates = duplicates;
    return Array.from(firsts, ([rest, server]) => located(server, rest));
  }

  /** What the last listing left out; it lists where there was none yet. */
  async duplicates(): Promise<readonly Sid[]> {
    if (this.#duplicates === null) await this.list();
    return this.#duplicates!;
  }

  /**
   * Removes other servers' copies of what was destroyed. A server that does not answer at once is let be: whether a
   * logout succeeds must not depend on a server on which the session is not. Only the very copies that it told of in time
   * are removed: what comes late may meet what the client has stored there since.
   */
  async removeElsewhere(sids: readonly Sid[]): Promise<void> {
    const removals = this.places.links.map(async (link, n) => {
      const concerned = sids.filter((sid) => serverOf(sid) !== n && !this.places.isIgnored(sid));
      const keys = concerned.flatMap((sid) => this.places.on(n, restOf(sid))?.key ?? []);
      if (keys.length === 0) return;
      const seen = await within(link.read(keys.map(identifyCommand)), ELSEWHERE);
      if (seen === LATE) return;
      const removals = keys.flatMap((key, i) => (hit(seen[i]!) ? [deleteCommand(key, flag(seen[i]!, "c")!)] : []));
      if (removals.length > 0) await link.write(removals);
    });
    await within(Promise.allSettled(removals), ELSEWHERE);
  }

  /** The sids that some server holds, located at the right one. */
  async #judge(rests: readonly Sid[]): Promise<ReadonlyMap<Sid, Sid>> {
    const judged = new Map<Sid, Sid>();
    for (let at = 0; at < rests.length; at += PAGE) {
      const page = rests.slice(at, at + PAGE);
      // Nobody's word is needed where R is away.
      const owners = (await this.options.owners?.(page).catch(() => page)) ?? page;
      const ages = await Promise.all(
        this.places.links.map(async (link, n) => {
          const keys = page.map((rest) => this.places.on(n, rest)?.key ?? null);
          const asked = keys.flatMap((key) => (key === null ? [] : [ageCommand(key)]));
          const replies = asked.length === 0 ? [] : [...(await link.read(asked))];
          return keys.map((key) => (key === null ? null : ageOf(replies.shift()!)));
        }),
      );
      for (const [i, rest] of page.entries()) {
        const holders = ages.flatMap((ofServer, server) => {
          const age = ofServer[i];
          return age ? [{ server, ...age }] : [];
        });
        // The servers' clocks tick at different moments: a second more is none.
        const least = Math.min(...holders.map(({ idle }) => idle)) + 1;
        const recent = holders.filter(({ idle }) => idle <= least).sort((a, b) => b.left - a.left);
        const owner = serverOf(owners[i] ?? rest);
        const chosen = holders.find(({ server }) => server === owner) ?? recent[0];
        if (chosen !== undefined) judged.set(rest, located(chosen.server, rest));
      }
    }
    return judged;
  }
}

/** memcached's verbs on the sessions of a pool: what a delete removes, it removes from every server. */
export class PoolItems extends MemcachedItems {
  constructor(
    places: Places,
    private readonly pool: Pool,
  ) {
    super(places.links, (sid) => places.of(sid), { placeholders: true });
  }

  override async perform(sid: Sid, verb: ItemVerb, wishes: ItemWishes, bare = false): Promise<ItemResult> {
    const result = await super.perform(sid, verb, wishes, bare);
    if (verb.verb === "delete" && result.result !== "changed") await this.pool.removeElsewhere([sid]);
    return result;
  }
}
