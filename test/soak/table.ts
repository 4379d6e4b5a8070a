export interface SoakResult {
  readonly operations: number;
  readonly failedRequests: ReadonlyMap<string, number>;
  readonly faults: ReadonlyMap<string, number>;
  readonly transitions: ReadonlyMap<string, number>;
  readonly histories: number;
  /** Milliseconds. */
  readonly slowest: number;
  /** From the end of the last fault until everybody served without an error, in milliseconds, at worst. */
  readonly recovery: number;
  readonly violations: readonly string[];
}

/** The table of a run, in Markdown. */
export function soakTable(result: SoakResult): string {
  const told = (counts: ReadonlyMap<string, number>) =>
    [...counts].sort(([a], [b]) => a.localeCompare(b)).map(([name, count]) => [`- ${name}`, count] as const);
  const sum = (counts: ReadonlyMap<string, number>) => [...counts.values()].reduce((all, count) => all + count, 0);
  const rows: (readonly [string, number])[] = [
    ["operations", result.operations],
    ["requests answered with an error", sum(result.failedRequests)],
    ...told(result.failedRequests),
    ["faults", sum(result.faults)],
    ...told(result.faults),
    ["transitions", sum(result.transitions)],
    ...told(result.transitions),
    ["histories checked", result.histories],
    ["slowest request, ms", Math.round(result.slowest)],
    ["slowest recovery, ms", Math.round(result.recovery)],
    ["violations", result.violations.length],
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  const line = (name: string, value: string) => `| ${name.padEnd(width)} | ${value.padStart(9)} |`;
  return [
    line("what", "count"),
    `| ${"-".repeat(width)} | ${"-".repeat(8)}: |`,
    ...rows.map(([name, count]) => line(name, String(count))),
  ].join("\n");
}
