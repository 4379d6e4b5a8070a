import { PHASE_NAMES } from "../core/phase.js";
import type { NodeInfo, NodeReport } from "../ports/control-store.js";
import type { FerryEvent, Observer } from "../ports/observer.js";
import { RecentLatencies } from "./latency.js";
import { Counter, type Distribution, family, Histogram, type Labels, type Sample } from "./prometheus.js";

/** What this node does not see by itself: asked of the stores by whoever serves the metrics. All parts may be missing. */
export interface FleetFacts {
  /** Intents open in Redis. */
  readonly openIntents?: number;
  /** `oldestAge` in milliseconds. */
  readonly dirty?: { readonly count: number; readonly oldestAge: number };
  /** Sessions; `rate` is sessions a second. */
  /** Of the dirty ones, those that the legacy store never takes, by its error. */
  readonly refused?: readonly { readonly code: string; readonly count: number }[];
  readonly backfill?: { readonly done: number; readonly total: number; readonly rate: number };
  /** Sessions of each class that the last check found, and when it ended (milliseconds since the epoch). */
  readonly check?: { readonly counts: Readonly<Record<string, number>>; readonly endedAt: number };
  readonly nodes?: readonly Pick<NodeInfo, "state" | "role" | "report">[];
}

/** The 95th percentile of fewer requests is the latency of one of them: on an idle site, of one cold request. */
const ENOUGH = 20;

type Operation = Extract<FerryEvent, { type: "operation" }>;

interface OperationSeries {
  readonly count: { value: number };
  readonly durations: Distribution;
}

/** Nobody looks at what they are about. */
const RELAYED = {
  ok: { verb: "relayed", store: "legacy", result: "ok" },
  error: { verb: "relayed", store: "legacy", result: "error" },
} as const;

const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const REDIS_STATES = ["up", "down", "lost"] as const;

/**
 * Counts what happens in one process, for a scraper as Prometheus text and for the control store as the figures of
 * each renewal. Labels come from fixed sets only, so that nothing about a session can get into them.
 */
export class Metrics implements Observer {
  readonly #operations = new Counter(
    "operations_total",
    "Requests by verb, store and result; relayed are those that the memcached door passed on as they came.",
  );
  readonly #durations = new Histogram(
    "operation_duration_seconds",
    "How long requests took, by verb and store.",
    SECONDS,
  );
  readonly #mirrorFailures = new Counter(
    "mirror_failures_total",
    "Steps that one store missed while the request went on, by the store that failed.",
  );
  readonly #readThrough = new Counter(
    "read_through_total",
    "Reads in read-through: hits in Redis, misses, and fallbacks to the legacy store while Redis was away.",
  );
  readonly #drained = new Counter("drained_total", "Records carried from Redis to the legacy store.");
  readonly #refused = new Counter("drain_refused_total", "Records that changed while they were carried, and go again.");
  readonly #swept = new Counter("swept_intents_total", "Intents closed on behalf of nodes that were gone.");
  readonly #evictions = new Counter("evictions_total", "How often this process was taken for dead and fenced off.");
  readonly #backgroundErrors = new Counter("background_errors_total", "Failures of background work, by task.");
  readonly #operationSeries = new Map<string, OperationSeries>();
  /** Of requests whose store nobody tells, by verb and result. */
  readonly #usual = { ok: new Map<string, OperationSeries>(), error: new Map<string, OperationSeries>() };
  readonly #reads = new Map<string, { value: number }>();
  readonly #recent: RecentLatencies;

  #gap = 0;
  #redis: (typeof REDIS_STATES)[number] | null = null;
  #controlUp: boolean | null = null;
  #routes: { revision: number; phase: string; percent: number } | null = null;
  #acknowledged: number | null = null;
  #sinceRenewal = { operations: 0, errors: 0 };

  /** `now` is a clock that never goes back, in milliseconds. */
  constructor(now: () => number = () => performance.now()) {
    this.#recent = new RecentLatencies(now);
  }

  event(event: FerryEvent): void {
    switch (event.type) {
      case "operation": {
        const series = this.#seriesOf(event);
        series.count.value++;
        series.durations.observe(event.milliseconds / 1000);
        this.#recent.add(event.milliseconds);
        this.#sinceRenewal.operations++;
        if (event.result === "error") this.#sinceRenewal.errors++;
        break;
      }
      case "relayed":
        this.#relayed(event);
        break;
      case "mirror-failure":
        this.#mirrorFailures.add({ failed_on: event.failedOn, verb: event.verb });
        break;
      case "read-through":
        this.#readsSeriesOf(event.result).value++;
        break;
      case "gap":
        this.#gap = event.size;
        break;
      case "drained":
        this.#drained.add({}, event.count);
        this.#refused.add({}, event.refused);
        break;
      case "swept":
        this.#swept.add({}, event.count);
        break;
      case "redis":
        this.#redis = event.state;
        break;
      case "control":
        this.#controlUp = event.state === "up";
        break;
      case "routes":
        this.#routes = event;
        break;
      case "acknowledged":
        this.#acknowledged = event.revision;
        break;
      case "evicted":
        this.#evictions.add({});
        break;
      case "background-error":
        this.#backgroundErrors.add({ task: event.task });
        break;
    }
  }

  /** The figures of one renewal: requests and errors since this was last asked, p95 of the last minute in milliseconds. */
  figures(): Pick<NodeReport, "operations" | "errors" | "p95"> {
    const { operations, errors } = this.#sinceRenewal;
    this.#sinceRenewal = { operations: 0, errors: 0 };
    return { operations, errors, p95: this.#recent.quantile(0.95, ENOUGH) };
  }

  /** Everything as Prometheus text (version 0.0.4). */
  render(facts: FleetFacts = {}): string {
    return [
      this.#renderPosition(),
      this.#operations.text(),
      this.#durations.text(),
      this.#mirrorFailures.text(),
      this.#readThrough.text(),
      gauge("gap_entries", "Sessions that this process wrote to the legacy store while Redis was away.", this.#gap),
      this.#drained.text(),
      this.#refused.text(),
      this.#swept.text(),
      this.#renderHealth(),
      this.#evictions.text(),
      this.#backgroundErrors.text(),
      renderFleet(facts),
    ].join("");
  }

  /** Requests are too many to spell their labels each time. */
  #seriesOf({ verb, store, result }: Pick<Operation, "store" | "result"> & { verb: string }): OperationSeries {
    const found = store === undefined ? this.#usual[result] : this.#operationSeries;
    const key = store === undefined ? verb : `${verb} ${store} ${result}`;
    let series = found.get(key);
    if (series === undefined) {
      const labels: Labels = store === undefined ? { verb } : { verb, store };
      series = { count: this.#operations.series({ ...labels, result }), durations: this.#durations.series(labels) };
      found.set(key, series);
    }
    return series;
  }

  #relayed({ commands, errors, milliseconds }: Extract<FerryEvent, { type: "relayed" }>): void {
    const ok = this.#seriesOf(RELAYED.ok);
    ok.count.value += commands - errors;
    if (errors > 0) this.#seriesOf(RELAYED.error).count.value += errors;
    if (milliseconds !== null) {
      ok.durations.observe(milliseconds / 1000, commands);
      this.#recent.add(milliseconds, commands);
    }
    this.#sinceRenewal.operations += commands;
    this.#sinceRenewal.errors += errors;
  }

  #readsSeriesOf(result: string): { value: number } {
    let series = this.#reads.get(result);
    if (series === undefined) {
      series = this.#readThrough.series({ result });
      this.#reads.set(result, series);
    }
    return series;
  }

  #renderPosition(): string {
    const routes = this.#routes;
    const phases = routes === null ? [] : PHASE_NAMES.map((phase) => sample(phase === routes.phase, { phase }));
    return [
      family("phase", "gauge", "1 for the phase of the migration, as this process sees it.", phases),
      gauge("percent", "The share of sessions that the phase covers, in percent.", routes?.percent),
      gauge("revision", "The revision of the control record whose routes this process follows.", routes?.revision),
      gauge("acknowledged_revision", "The revision that this process acknowledged.", this.#acknowledged),
    ].join("");
  }

  #renderHealth(): string {
    const states = this.#redis === null ? [] : REDIS_STATES.map((state) => sample(state === this.#redis, { state }));
    return [
      family("redis_state", "gauge", "1 for what this process thinks of Redis.", states),
      gauge(
        "control_up",
        "Whether the control store could be reached.",
        this.#controlUp === null ? null : Number(this.#controlUp),
      ),
    ].join("");
  }
}

function renderFleet({ openIntents, dirty, refused = [], backfill, check, nodes }: FleetFacts): string {
  const classes = Object.entries(check?.counts ?? {}).map(([name, value]) => ({ labels: { class: name }, value }));
  const refusals = refused.map(({ code, count }) => ({ labels: { code }, value: count }));
  return [
    gauge("open_intents", "Writes to the legacy store that have begun and not ended, by Redis.", openIntents),
    gauge("dirty_records", "Records that Redis has and the legacy store has not yet.", dirty?.count),
    gauge("dirty_oldest_age_seconds", "Age of the oldest of them.", seconds(dirty?.oldestAge)),
    family("dirty_refused_records", "gauge", "Of them, what the legacy store does not take, by its error.", refusals),
    gauge("backfill_sessions_done", "Sessions that the backfill has dealt with.", backfill?.done),
    gauge("backfill_sessions_per_second", "Its rate.", backfill?.rate),
    gauge(
      "backfill_lag_sessions",
      "Sessions still before it.",
      backfill && Math.max(0, backfill.total - backfill.done),
    ),
    family("check_sessions", "gauge", "Sessions by class, as the last check found them.", classes),
    gauge("check_ended_timestamp_seconds", "When the last check ended.", seconds(check?.endedAt)),
    family("nodes", "gauge", "Nodes by role, state and acknowledged revision.", countNodes(nodes ?? [])),
  ].join("");
}

function countNodes(nodes: NonNullable<FleetFacts["nodes"]>): Sample[] {
  const counts = new Map<string, { labels: Labels; value: number }>();
  for (const { role, state, report } of nodes) {
    const labels = { role, state, acknowledged: report.acknowledged };
    const key = Object.values(labels).join(" ");
    const entry = counts.get(key) ?? { labels, value: 0 };
    counts.set(key, { labels, value: entry.value + 1 });
  }
  return [...counts.values()];
}

function gauge(name: string, help: string, value: number | null | undefined): string {
  return family(name, "gauge", help, value === null || value === undefined ? [] : [{ value }]);
}

function sample(holds: boolean, labels: Labels): Sample {
  return { labels, value: holds ? 1 : 0 };
}

function seconds(milliseconds: number | undefined): number | undefined {
  return milliseconds === undefined ? undefined : milliseconds / 1000;
}
