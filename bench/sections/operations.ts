import { setTimeout as sleep } from "node:timers/promises";
import type { PhaseName } from "../../src/core/phase.js";
import { PHASE_NAMES } from "../../src/core/phase.js";
import type { Visitor } from "../../src/runtime/visitor.js";
import type { Measure } from "../goals.js";
import type { Operation, Slice, StoreSpec } from "../messages.js";
import { figure, type SectionResult, spread, type Table } from "../report.js";
import type { LegacyName, Scale } from "../scale.js";
import { CONNECTIONS, type Stage } from "../stage.js";
import { type Sample, sampleOf } from "../statistics.js";
import { type Subject, withSubjects } from "../subjects.js";

/**
 * Session operations through our store in each phase beside the plain store of the old and of the new side, 64 under
 * way at all times. Each store is measured in each round, so that whatever disturbs the machine meets all of them; a
 * ratio is taken within a round, and the median of the rounds counts. With a fixed number under way the mean latency is
 * that number by the throughput, so one ratio tells both.
 */
const CONCURRENCY = 64;
const OPERATIONS: readonly Operation[] = ["get", "set", "touch"];
/** Where Redis is the authority and a drain runs. */
const DRAINED: readonly PhaseName[] = ["redis-first", "full-redis"];
/** How long a drain may take to empty the index before the next store is measured, as a multiple of the slice. */
const LONGEST_DRAIN = 30;

interface Contestant {
  readonly name: string;
  readonly spec: StoreSpec;
  readonly phase: PhaseName | null;
  readonly visitor: Visitor | null;
}

export async function operations(stage: Stage, scale: Scale, tell: (line: string) => void): Promise<SectionResult> {
  const tables: Table[] = [];
  const measures: Measure[] = [];
  for (const legacy of scale.operations.legacies) {
    const { sizes } = scale.operations;
    for (const bytes of sizes) {
      const race = new Race(legacy, bytes, scale.operations, tell);
      await race.run(await contestants(stage, legacy, scale.operations.phases, `${legacy[0]}${bytes}`));
      tables.push(race.table());
      // Goals are about the first size; the others stand in the tables.
      measures.push(...race.measures(bytes === sizes[0] ? "" : `-${bytes}`));
    }
  }
  return {
    section: "operations",
    tables,
    measures,
    notes: [
      "Requests a second of one process with 64 under way; in brackets the processor time of that process for one request.",
      "The requests are made in the measured process: a channel would cost more than what it carries. Every store pays the same for them.",
      "PostgreSQL does not wait for disks here (fsync off), which makes our share of a write look larger than it is elsewhere.",
      "connect-memcached has no touch of its own and sets; connect-memjs has none at all.",
    ],
  };
}

async function contestants(
  stage: Stage,
  legacy: LegacyName,
  phases: readonly PhaseName[],
  tag: string,
): Promise<Contestant[]> {
  const plain = (name: string, spec: StoreSpec): Contestant => ({ name, spec, phase: null, visitor: null });
  const address = `${stage.memcached.host}:${stage.memcached.port}`;
  const found: Contestant[] = [];
  if (legacy === "postgres") {
    const table = `plain_${tag}`;
    await stage.table(table);
    const spec = { kind: "connect-pg-simple", url: stage.postgres.url, table, connections: CONNECTIONS } as const;
    found.push(plain("connect-pg-simple", spec));
  } else {
    const prefix = `plain${tag}:`;
    found.push(plain("connect-memcached", { kind: "connect-memcached", address, prefix, connections: CONNECTIONS }));
    found.push(plain("connect-memjs", { kind: "connect-memjs", address, prefix: `memjs${tag}:` }));
  }
  for (const phase of phases) {
    const migration = `ops-${tag}-${phase}`;
    const settings = stage.settings(migration, legacy);
    if (legacy === "postgres") await stage.table((settings.legacy as { table: string }).table);
    const visitor = await stage.migration(settings, phase);
    found.push({ name: phase, spec: { kind: "ferry", config: settings, phase }, phase, visitor });
  }
  const redis = { kind: "connect-redis", url: stage.redis.url, prefix: `plain${tag}:` } as const;
  found.push(plain("connect-redis", redis));
  return found;
}

/** The figures of one store and operation, a value a round. */
interface Lap {
  readonly throughput: number[];
  readonly processor: number[];
}

class Race {
  readonly #laps = new Map<string, Lap>();
  /** Time to empty the dirty index by the time in which it was filled. */
  readonly #drains = new Map<string, number[]>();
  #names: string[] = [];
  #errors = 0;

  constructor(
    readonly legacy: LegacyName,
    readonly bytes: number,
    readonly options: Scale["operations"],
    readonly tell: (line: string) => void,
  ) {}

  async run(contestants: readonly Contestant[]): Promise<void> {
    const { rounds, sessions } = this.options;
    this.#names = contestants.map(({ name }) => name);
    await withSubjects(contestants, async (subjects) => {
      for (const [i, subject] of subjects.entries()) {
        await subject.ask({ verb: "fill", sessions, bytes: this.bytes });
        await this.#drained(contestants[i]!);
      }
      // The first round warms up what the others measure.
      for (let round = 0; round <= rounds; round++) {
        for (const operation of OPERATIONS) {
          // Back and forth, so that nobody always comes after the same neighbour.
          const order = round % 2 === 0 ? [...subjects.keys()] : [...subjects.keys()].reverse();
          for (const i of order) await this.#lap(contestants[i]!, subjects[i]!, operation, round > 0);
        }
        this.tell(`operations, ${this.legacy}, ${this.bytes} bytes: round ${round} of ${rounds}`);
      }
    });
  }

  async #lap(contestant: Contestant, subject: Subject, operation: Operation, counts: boolean): Promise<void> {
    if (contestant.name === "connect-memjs" && operation === "touch") return;
    const { slice: milliseconds, sessions } = this.options;
    const ask = {
      verb: "repeat",
      operation,
      milliseconds,
      concurrency: CONCURRENCY,
      sessions,
      bytes: this.bytes,
    } as const;
    const slice: Slice = await subject.ask<"repeat">(ask);
    const drained = await this.#drained(contestant);
    if (!counts) return;
    this.#errors += slice.errors;
    const lap = this.#lapOf(contestant.name, operation);
    lap.throughput.push(slice.operations / slice.seconds);
    lap.processor.push(slice.processor / slice.operations);
    if (operation === "set" && drained !== null) {
      const drains = this.#drains.get(contestant.name) ?? [];
      this.#drains.set(contestant.name, [...drains, drained / milliseconds]);
    }
  }

  /** Waits until the drain has emptied the index; how many milliseconds that took, or null where there is none. */
  async #drained({ phase, visitor }: Contestant): Promise<number | null> {
    if (visitor === null || phase === null || !DRAINED.includes(phase)) return null;
    const began = performance.now();
    const until = began + Math.max(10_000, LONGEST_DRAIN * this.options.slice);
    while (performance.now() < until && (await visitor.records.dirtyState()).count > 0) await sleep(20);
    return performance.now() - began;
  }

  #lapOf(name: string, operation: Operation): Lap {
    const key = `${name}/${operation}`;
    const lap = this.#laps.get(key) ?? { throughput: [], processor: [] };
    this.#laps.set(key, lap);
    return lap;
  }

  #ratio(name: string, base: string, operation: Operation): Sample | null {
    const ours = this.#laps.get(`${name}/${operation}`)?.throughput;
    const theirs = this.#laps.get(`${base}/${operation}`)?.throughput;
    return ours && theirs ? sampleOf(ours.map((value, round) => value / theirs[round]!)) : null;
  }

  get #old(): string {
    return this.legacy === "postgres" ? "connect-pg-simple" : "connect-memcached";
  }

  table(): Table {
    const rows = this.#names.map((name) => [
      name,
      ...OPERATIONS.flatMap((operation) => {
        const lap = this.#laps.get(`${name}/${operation}`);
        if (lap === undefined) return ["-", "-", "-"];
        const [old, redis] = [this.#ratio(name, this.#old, operation)!, this.#ratio(name, "connect-redis", operation)!];
        const cost = `${figure(sampleOf(lap.throughput).median)} (${figure(sampleOf(lap.processor).median)} µs)`;
        return [cost, `${figure(old.median)} [${spread(old)}]`, `${figure(redis.median)} [${spread(redis)}]`];
      }),
    ]);
    return {
      title: `${this.legacy}, ${this.bytes} bytes: requests a second, and their ratio to ${this.#old} and to connect-redis; ${this.#errors} errors`,
      columns: ["store", ...OPERATIONS.flatMap((operation) => [operation, "of old", "of new"])],
      rows,
    };
  }

  measures(suffix: string): Measure[] {
    const measures: Measure[] = [];
    const phases = PHASE_NAMES.filter((phase) => this.#names.includes(phase));
    for (const phase of phases) {
      for (const operation of OPERATIONS) {
        const of = `${this.legacy}${suffix}/${phase}/${operation}`;
        const old = this.#ratio(phase, this.#old, operation);
        const redis = this.#ratio(phase, "connect-redis", operation);
        if (old === null || redis === null) continue;
        const inverse = { ...old, median: 1 / old.median, low: 1 / old.high, high: 1 / old.low };
        measures.push({ id: `operations/throughput/${of}`, unit: "of the old store", sample: old });
        measures.push({ id: `operations/latency/${of}`, unit: "of the old store", sample: inverse });
        measures.push({ id: `operations/redis/${of}`, unit: "of connect-redis", sample: redis });
      }
      const drains = this.#drains.get(phase);
      if (drains !== undefined) {
        const id = `operations/drain/${this.legacy}${suffix}/${phase}`;
        measures.push({ id, unit: "of the time in which it was filled", sample: sampleOf(drains) });
      }
    }
    return measures;
  }
}
