import { isLive, type Sid } from "../../core/session.js";
import { FerryError } from "../../errors.js";
import type { Item, ItemResult, ItemStore, ItemVerb } from "../../ports/items.js";
import type { Change, Command, Failure, Flush, Read, Stats, Version } from "./commands.js";
import { failureOf } from "./failure.js";
import type { DoorOptions } from "./options.js";
import type { Output } from "./output.js";

/** Bytes of values that are asked for at once, as far as that can be guessed. */
const AT_ONCE = 1024 * 1024;
const FIRST_GUESS = 10 * 1024;
const MOST_KEYS = 512;
const MOST_SETS = 64;
const NO_MEMCACHED: Failure = { kind: "never", code: "NO_MEMCACHED" };

/** Where a command's keys lead. */
type Route =
  | { readonly to: "items" | "bypass"; readonly sids: readonly Sid[] }
  | { readonly to: "both"; readonly sids: readonly Sid[]; readonly inItems: readonly boolean[] }
  | { readonly to: "nowhere"; readonly failure: Failure };

/** Writes answers; called once for each step, outside of the step's own errors. */
export type Answer = (out: Output) => void;

export interface ExecutorOptions extends Pick<DoorOptions, "items" | "bypass" | "keyspace"> {
  readonly allowFlush: boolean;
  version(): Promise<string>;
  stats(which: string): Promise<string>;
  /** A command failed. */
  failed(verb: string, error: unknown): void;
}

/**
 * Carries out the commands of one connection, one after the other, as memcached does. A read of very many keys is cut, so
 * that no client can ask for more than fits the memory.
 *
 * Only neighbours of two kinds are under way together. Reads are one request to the store. Sets of different keys are
 * begun in their order, in one turn, so that they travel as one batch. Everything else waits for what came before it: a
 * lock is given back, by whatever verb, only after what it guards was stored.
 */
export class Executor {
  /** What an item was long lately: it tells how many to ask for at once. */
  #length = FIRST_GUESS;

  constructor(private readonly options: ExecutorOptions) {}

  /**
   * @param commands those that wait, the first of them no `said` and no `quit`.
   * @param answered called with the answers, more than once for a long read; `done` commands are over then. It returns
   *   a promise where the client must take its answers first.
   */
  async run(
    commands: readonly Command[],
    first: number,
    answered: (answer: Answer, done: number) => Promise<void> | undefined,
  ): Promise<void> {
    const command = commands[first]!;
    switch (command.kind) {
      case "read":
        return this.#reads(commands, first, command, answered);
      case "change": {
        if (command.keys.length > 1) return this.#each(command, answered);
        const count = this.#setsFrom(commands, first, command);
        const changes = commands.slice(first, first + count) as Change[];
        const answers = count === 1 ? [await this.#change(command)] : await Promise.all(changes.map(this.#change));
        await answered((out) => {
          for (const answer of answers) answer(out);
        }, count);
        return;
      }
      case "flush":
        await answered(await this.#flush(command), 1);
        return;
      case "version":
        await answered(await this.#version(command), 1);
        return;
      case "stats":
        await answered(await this.#stats(command), 1);
        return;
      default:
        throw new Error("said and quit are no business of the executor");
    }
  }

  async #reads(
    commands: readonly Command[],
    first: number,
    read: Read,
    answered: (answer: Answer, done: number) => Promise<void> | undefined,
  ): Promise<void> {
    const route = this.#route(read.keys);
    const most = this.#most();
    if (route.to === "both" || route.to === "nowhere") return this.#mixed(read, route, answered);
    if (read.keys.length > most) return this.#long(read, route, answered);
    // Neighbours that lead to the same store and want the same of it.
    let sids = route.sids;
    let last = first + 1;
    for (; last < commands.length; last++) {
      const next = commands[last]!;
      if (next.kind !== "read" || next.token !== read.token || sids.length + next.keys.length > most) break;
      const its = this.#route(next.keys);
      if (its.to !== route.to) break;
      sids = sids.concat(its.sids);
    }
    const reads = commands.slice(first, last) as Read[];
    let items: (Item | null)[];
    try {
      items = await this.#store(route.to).read(sids, { token: read.token });
    } catch (error) {
      await answered(this.#failed("read", reads, error), reads.length);
      return;
    }
    this.#learn(items);
    const answer = (out: Output) => {
      let from = 0;
      for (const one of reads) {
        one.answer(out, items, from, 0, one.keys.length);
        from += one.keys.length;
      }
    };
    await answered(answer, reads.length);
  }

  /** Part by part; a failure after the first parts ends the answer with an error. */
  async #long(
    read: Read,
    route: { readonly to: "items" | "bypass"; readonly sids: readonly Sid[] },
    answered: (answer: Answer, done: number) => Promise<void> | undefined,
  ): Promise<void> {
    for (let from = 0; from < route.sids.length; ) {
      const part = route.sids.slice(from, from + this.#most());
      const keyFrom = from;
      from += part.length;
      const done = from === route.sids.length ? 1 : 0;
      try {
        const items = await this.#store(route.to).read(part, { token: read.token });
        this.#learn(items);
        await answered((out) => read.answer(out, items, 0, keyFrom, part.length), done);
      } catch (error) {
        await answered(this.#failed("read", [read], error), 1);
        return;
      }
    }
  }

  /** Sessions and others in one command, or a key that leads nowhere. */
  async #mixed(
    read: Read,
    route: Extract<Route, { to: "both" | "nowhere" }>,
    answered: (answer: Answer, done: number) => Promise<void> | undefined,
  ): Promise<void> {
    if (route.to === "nowhere") {
      await answered((out) => read.fail(out, route.failure), 1);
      return;
    }
    const { sids, inItems } = route;
    const items: (Item | null)[] = new Array(sids.length).fill(null);
    const part = async (to: "items" | "bypass", wanted: boolean, from: number, end: number) => {
      const places: number[] = [];
      for (let n = from; n < end; n++) if (inItems[n] === wanted) places.push(n);
      if (places.length === 0) return;
      const found = await this.#store(to).read(
        places.map((n) => sids[n]!),
        { token: read.token },
      );
      for (const [n, place] of places.entries()) items[place] = found[n]!;
    };
    for (let from = 0; from < sids.length; ) {
      const end = Math.min(sids.length, from + this.#most());
      try {
        await Promise.all([part("items", true, from, end), part("bypass", false, from, end)]);
      } catch (error) {
        await answered(this.#failed("read", [read], error), 1);
        return;
      }
      const keyFrom = from;
      from = end;
      const done = from === sids.length ? 1 : 0;
      await answered((out) => read.answer(out, items, keyFrom, keyFrom, end - keyFrom), done);
      items.fill(null, keyFrom, end);
    }
  }

  /** How many sets that may be under way together begin here; 1 for any other change. */
  #setsFrom(commands: readonly Command[], first: number, change: Change): number {
    const now = Date.now();
    // One that ends an item may be how somebody gives back a lock.
    const isSet = ({ verb, keys, after }: Change) =>
      verb.verb === "set" && isLive(verb.session, now) && keys.length === 1 && after === null;
    const next = commands[first + 1];
    if (next?.kind !== "change" || !isSet(next) || !isSet(change)) return 1;
    const { to } = this.#route(change.keys);
    const keys = new Set(change.keys);
    let bytes = change.size;
    let count = 1;
    for (; count < MOST_SETS && first + count < commands.length; count++) {
      const it = commands[first + count]!;
      if (it.kind !== "change" || !isSet(it) || keys.has(it.keys[0]!)) break;
      bytes += it.size;
      if (bytes > AT_ONCE || this.#route(it.keys).to !== to) break;
      keys.add(it.keys[0]!);
    }
    return count;
  }

  readonly #change = async (change: Change): Promise<Answer> => {
    let isBegun = false;
    try {
      const key = change.keys[0]!;
      const result = await this.#perform(key, change.verb, change);
      if (isFailure(result)) return (out) => change.fail(out, result);
      isBegun = result.result === "done";
      if (change.after !== null && isBegun) await this.#perform(key, change.after, change);
      return (out) => change.answer(out, [result], 0);
    } catch (error) {
      return this.#failed(change.verb.verb, [change], isBegun ? halfDone(error) : error);
    }
  };

  /** One key after the other, answered part by part; a failure after the first parts ends the answer with an error. */
  async #each(change: Change, answered: (answer: Answer, done: number) => Promise<void> | undefined): Promise<void> {
    const { keys, verb } = change;
    let results: ItemResult[] = [];
    let bytes = 0;
    for (const [n, key] of keys.entries()) {
      let result: ItemResult | Failure;
      try {
        result = await this.#perform(key, verb, change);
      } catch (error) {
        await answered(this.#failed(verb.verb, [change], n > 0 ? halfDone(error) : error), 1);
        return;
      }
      if (isFailure(result)) {
        const failure = result;
        await answered((out) => change.fail(out, failure), 1);
        return;
      }
      results.push(result);
      if (result.result === "done" && result.item !== null) bytes += result.item.value.length;
      const isLast = n === keys.length - 1;
      if (bytes < AT_ONCE && !isLast) continue;
      const part = results;
      await answered((out) => change.answer(out, part, n + 1 - part.length), isLast ? 1 : 0);
      results = [];
      bytes = 0;
    }
  }

  async #perform(key: string, verb: ItemVerb, { token }: Change): Promise<ItemResult | Failure> {
    const route = this.#route([key]);
    if (route.to === "nowhere") return route.failure;
    return this.#store(route.to as "items" | "bypass").perform(route.sids[0]!, verb, { token });
  }

  async #flush(flush: Flush): Promise<Answer> {
    if (!this.options.allowFlush) return (out) => flush.refuse(out, "forbidden");
    if (flush.malformed) return (out) => flush.refuse(out, "malformed");
    if (flush.delayed) return (out) => flush.refuse(out, "delayed");
    try {
      await this.options.items.flush();
      return (out) => flush.answer(out);
    } catch (error) {
      return this.#failed("flush", [flush], error);
    }
  }

  async #version(version: Version): Promise<Answer> {
    const text = await this.options.version();
    return (out) => version.answer(out, text);
  }

  async #stats(stats: Stats): Promise<Answer> {
    try {
      const lines = await this.options.stats(stats.which);
      return (out) => stats.answer(out, lines);
    } catch (error) {
      return this.#failed("stats", [stats], error);
    }
  }

  #store(to: "items" | "bypass"): ItemStore {
    return to === "items" ? this.options.items : this.options.bypass!;
  }

  #failed(verb: string, commands: readonly { fail(out: Output, failure: Failure): void }[], error: unknown): Answer {
    this.options.failed(verb, error);
    const failure = failureOf(error);
    return (out) => {
      for (const command of commands) command.fail(out, failure);
    };
  }

  #route(keys: readonly string[]): Route {
    const sids: Sid[] = [];
    const inItems: boolean[] = [];
    let sessions = 0;
    for (const key of keys) {
      const text = decoded(key);
      const sid = text === null ? null : this.options.keyspace(text);
      if (sid !== null) sessions++;
      else if (this.options.bypass === null) return { to: "nowhere", failure: NO_MEMCACHED };
      sids.push(sid ?? key);
      inItems.push(sid !== null);
    }
    if (sessions === keys.length) return { to: "items", sids };
    return sessions === 0 ? { to: "bypass", sids } : { to: "both", sids, inItems };
  }

  /** How many keys may be asked for at once. */
  #most(): number {
    return Math.max(1, Math.min(MOST_KEYS, Math.floor(AT_ONCE / this.#length)));
  }

  #learn(items: readonly (Item | null)[]): void {
    let longest = 0;
    for (const item of items) if (item !== null && item.value.length > longest) longest = item.value.length;
    // Up at once, down slowly.
    this.#length = Math.max(longest, Math.floor(this.#length * 0.9), 1024);
  }
}

/** Whoever repeats a command of which a part was carried out must know that it was. */
function halfDone(cause: unknown): FerryError {
  return new FerryError("OUTCOME_UNKNOWN", "A part of the command was carried out, the rest was not.", { cause });
}

function isFailure(result: ItemResult | Failure): result is Failure {
  return "code" in result;
}

/** A key as text: its bytes are UTF-8, or null. */
function decoded(key: string): string | null {
  for (let n = 0; n < key.length; n++) if (key.charCodeAt(n) > 127) return wide(key);
  return key;
}

function wide(key: string): string | null {
  const bytes = Buffer.from(key, "latin1");
  const text = bytes.toString("utf8");
  return Buffer.from(text, "utf8").equals(bytes) ? text : null;
}
