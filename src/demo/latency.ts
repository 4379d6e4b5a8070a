/** One request as a user waited for it. */
interface Sample {
  readonly began: number;
  readonly ended: number;
  readonly route: string;
}

export interface IntervalReport {
  readonly name: string;
  readonly requests: number;
  /** Milliseconds. */
  readonly p99: number;
  readonly slowest: number;
  readonly slowestRoute: string;
}

/** How long the users waited, by the named intervals of the demo. A few tens of thousands of samples are kept. */
export class Latency {
  readonly #samples: Sample[] = [];
  readonly #intervals: { name: string; began: number; ended: number }[] = [];

  add(route: string, began: number, ended: number): void {
    this.#samples.push({ route, began, ended });
  }

  /** Opens an interval; the function that is returned closes it. */
  begin(name: string): () => void {
    const interval = { name, began: Date.now(), ended: Number.POSITIVE_INFINITY };
    this.#intervals.push(interval);
    return () => {
      interval.ended = Date.now();
    };
  }

  /** A line for each interval, with the requests that were under way in it, and one for the whole time. */
  report(): IntervalReport[] {
    const all = { name: "the whole time", began: 0, ended: Number.POSITIVE_INFINITY };
    return [...this.#intervals, all].map(({ name, began, ended }) => {
      const within = this.#samples
        .filter((sample) => sample.ended >= began && sample.began <= ended)
        .sort((a, b) => duration(a) - duration(b));
      const slowest = within.at(-1);
      const p99 = within[Math.max(0, Math.ceil(within.length * 0.99) - 1)];
      return {
        name,
        requests: within.length,
        p99: p99 === undefined ? 0 : duration(p99),
        slowest: slowest === undefined ? 0 : duration(slowest),
        slowestRoute: slowest?.route ?? "",
      };
    });
  }
}

function duration(sample: Sample): number {
  return sample.ended - sample.began;
}
