const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
type Unit = keyof typeof UNITS;

// No two runs of blanks meet: a long one that leads to nothing is gone through once.
const PATTERN = /^\s*(\d+(?:\.\d+)?)(?:\s*(ms|s|m|h|d))?\s*$/;

/** Milliseconds of "50ms", "5s", "1.5m", "15m", "30d" or of a plain number (already milliseconds); null for anything else. */
export function parseDuration(value: unknown): number | null {
  if (typeof value === "number") return Number.isFinite(value) && value >= 0 ? value : null;
  if (typeof value !== "string") return null;
  const match = PATTERN.exec(value);
  if (match === null) return null;
  const milliseconds = Number(match[1]) * UNITS[(match[2] ?? "ms") as Unit];
  return Number.isFinite(milliseconds) ? milliseconds : null;
}

/** The shortest exact text of a duration: 900000 is "15m", 1500 is "1500ms". */
export function formatDuration(milliseconds: number): string {
  if (milliseconds === 0) return "0s";
  for (const unit of ["d", "h", "m", "s"] as const) {
    if (milliseconds % UNITS[unit] === 0) return `${milliseconds / UNITS[unit]}${unit}`;
  }
  return `${milliseconds}ms`;
}
