/** A figure measured several times. Medians and quartiles only: one disturbed round must not move the result. */
export interface Sample {
  readonly median: number;
  /** The quartiles; with fewer than four rounds the smallest and the largest. */
  readonly low: number;
  readonly high: number;
  readonly rounds: number;
}

export function sampleOf(values: readonly number[]): Sample {
  if (values.length === 0) throw new RangeError("nothing was measured");
  const sorted = [...values].sort((a, b) => a - b);
  const few = sorted.length < 4;
  return {
    median: quantile(sorted, 0.5),
    low: quantile(sorted, few ? 0 : 0.25),
    high: quantile(sorted, few ? 1 : 0.75),
    rounds: sorted.length,
  };
}

/** @param sorted ascending, not empty; between two values it is interpolated. */
export function quantile(sorted: ArrayLike<number>, share: number): number {
  const place = (sorted.length - 1) * share;
  const below = sorted[Math.floor(place)]!;
  const above = sorted[Math.ceil(place)]!;
  return below + (above - below) * (place - Math.floor(place));
}
