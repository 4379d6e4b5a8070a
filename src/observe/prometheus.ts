/** Prometheus' text format, as far as we need it. */

export type Labels = Readonly<Record<string, string | number>>;

const PREFIX = "sessionferry_";

/** Counts by combinations of label values. */
export class Counter {
  readonly #series = new Map<string, { labels: Labels; value: number }>();

  constructor(
    readonly name: string,
    readonly help: string,
  ) {}

  add(labels: Labels, by = 1): void {
    this.series(labels).value += by;
  }

  /** The count of one combination, for callers that keep it because they count often. */
  series(labels: Labels): { value: number } {
    const key = labelsText(labels);
    let series = this.#series.get(key);
    if (series === undefined) {
      series = { labels, value: 0 };
      this.#series.set(key, series);
    }
    return series;
  }

  text(): string {
    return family(this.name, "counter", this.help, [...this.#series.values()]);
  }
}

/** One series of a histogram. */
export class Distribution {
  /** By bucket, not yet cumulated; the last is the one without an end. */
  readonly counts: number[];
  sum = 0;

  constructor(readonly bounds: readonly number[]) {
    this.counts = new Array<number>(bounds.length + 1).fill(0);
  }

  /** @param times how many had this value */
  observe(value: number, times = 1): void {
    let bucket = 0;
    while (bucket < this.bounds.length && value > this.bounds[bucket]!) bucket++;
    this.counts[bucket]! += times;
    this.sum += value * times;
  }
}

/** Distributions by combinations of label values. `bounds` ascend, in the unit that the name tells. */
export class Histogram {
  readonly #series = new Map<string, { labels: Labels; values: Distribution }>();

  constructor(
    readonly name: string,
    readonly help: string,
    readonly bounds: readonly number[],
  ) {}

  series(labels: Labels): Distribution {
    const key = labelsText(labels);
    let series = this.#series.get(key);
    if (series === undefined) {
      series = { labels, values: new Distribution(this.bounds) };
      this.#series.set(key, series);
    }
    return series.values;
  }

  text(): string {
    if (this.#series.size === 0) return "";
    const lines = heading(this.name, "histogram", this.help);
    const name = PREFIX + this.name;
    for (const { labels, values } of this.#series.values()) {
      let total = 0;
      for (const [index, count] of values.counts.entries()) {
        total += count;
        lines.push(`${name}_bucket${labelsText({ ...labels, le: this.bounds[index] ?? "+Inf" })} ${total}`);
      }
      const suffix = labelsText(labels);
      lines.push(`${name}_sum${suffix} ${number(values.sum)}`, `${name}_count${suffix} ${total}`);
    }
    return `${lines.join("\n")}\n`;
  }
}

export interface Sample {
  readonly labels?: Labels;
  readonly value: number;
}

/** One metric with all its samples; nothing where there are none. */
export function family(name: string, type: "counter" | "gauge", help: string, samples: readonly Sample[]): string {
  if (samples.length === 0) return "";
  const lines = samples.map(({ labels, value }) => `${PREFIX}${name}${labelsText(labels ?? {})} ${number(value)}`);
  return `${[...heading(name, type, help), ...lines].join("\n")}\n`;
}

function heading(name: string, type: string, help: string): string[] {
  return [`# HELP ${PREFIX}${name} ${help.replace(/[\\\n]/g, " ")}`, `# TYPE ${PREFIX}${name} ${type}`];
}

function labelsText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(String(value))}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function escaped(value: string): string {
  return value.replace(/\\/g, "\\\\").replace(/"/g, '\\"').replace(/\n/g, "\\n");
}

function number(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (Number.isFinite(value)) return String(value);
  return value > 0 ? "+Inf" : "-Inf";
}
