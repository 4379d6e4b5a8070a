import type { IntervalReport } from "./latency.js";

/** What the demo says as it goes on, each line with the seconds since its beginning. */
export class Timeline {
  readonly #began = Date.now();

  /** @param print takes one line; @param colours whether the reader is a terminal */
  constructor(
    readonly print: (line: string) => void,
    readonly colours = false,
  ) {}

  get seconds(): number {
    return (Date.now() - this.#began) / 1000;
  }

  /** A chapter. */
  step(text: string): void {
    this.print("");
    this.print(`${this.#clock()}  ${this.#style(1, text)}`);
  }

  /** Something that happened, or a figure. */
  say(text: string): void {
    this.print(`${this.#clock()}  ${text}`);
  }

  /** A command as a team would type it. */
  command(words: readonly string[]): void {
    const typed = words.map((word) => (/^[\w./:=%-]+$/.test(word) ? word : JSON.stringify(word))).join(" ");
    this.print(`${this.#clock()}  ${this.#style(36, `$ sessionferry ${typed}`)}`);
  }

  /** A line that a command printed. */
  output(line: string): void {
    this.print(`          ${this.#style(2, line)}`);
  }

  #clock(): string {
    return `${this.seconds.toFixed(1).padStart(6)} s`;
  }

  #style(code: number, text: string): string {
    return this.colours ? `\u001b[${code}m${text}\u001b[0m` : text;
  }
}

/** How long the users waited during each transition. */
export function formatLatency(reports: readonly IntervalReport[]): string {
  const rows = [
    ["", "requests", "p99", "slowest", ""],
    ...reports.map(({ name, requests, p99, slowest, slowestRoute }) => [
      name,
      requests.toLocaleString("en"),
      `${Math.round(p99)} ms`,
      `${Math.round(slowest)} ms`,
      slowestRoute,
    ]),
  ];
  const widths = [0, 1, 2, 3].map((column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map((row) => row.map((cell, i) => (i === 0 || i === 4 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i]!))))
    .map((cells) => cells.join("  ").trimEnd())
    .join("\n");
}
