import { isTerminal, span } from "./terminal.js";

export interface Progress {
  readonly done: number;
  /** Null while nobody knows. */
  readonly total: number | null;
  /** Per second. */
  readonly rate: number;
  /** What is added at the end of the line, such as "refused 3". */
  readonly note?: string;
}

const BAR_WIDTH = 30;
const REDRAW_EVERY = 100;
const LINE_EVERY = 5000;

/** A text of a progress, without a bar: what a log gets. */
export function progressText({ done, total, rate, note }: Progress): string {
  const parts = [total === null ? `${done}` : `${done} of ${total} (${percentOf(done, total)} %)`];
  parts.push(`${Math.round(rate)}/s`);
  if (total !== null && rate > 0 && total > done) parts.push(`${span(((total - done) / rate) * 1000)} left`);
  if (note !== undefined && note !== "") parts.push(note);
  return parts.join(", ");
}

function percentOf(done: number, total: number): number {
  return total === 0 ? 100 : Math.min(100, Math.floor((done / total) * 100));
}

/** Shows how far a job is: a bar that is redrawn on a terminal, a line every few seconds anywhere else. */
export class ProgressView {
  #lastDrawn = 0;
  #drawn = false;

  constructor(
    readonly label: string,
    readonly stream: NodeJS.WritableStream,
    readonly write: (text: string) => void,
  ) {}

  show(progress: Progress): void {
    const now = Date.now();
    const bar = isTerminal(this.stream);
    if (now - this.#lastDrawn < (bar ? REDRAW_EVERY : LINE_EVERY)) return;
    this.#lastDrawn = now;
    if (bar) this.#draw(progress);
    else this.write(`${this.label}: ${progressText(progress)}\n`);
  }

  /** The last state, which is always shown. */
  end(progress: Progress): void {
    if (isTerminal(this.stream)) {
      this.#draw(progress);
      this.clear();
    } else {
      this.write(`${this.label}: ${progressText(progress)}\n`);
    }
  }

  /** Leaves the bar's line, so that other text can follow. */
  clear(): void {
    if (this.#drawn) this.write("\n");
    this.#drawn = false;
  }

  #draw(progress: Progress): void {
    const filled =
      progress.total === null ? 0 : Math.floor((percentOf(progress.done, progress.total) / 100) * BAR_WIDTH);
    const bar = progress.total === null ? "" : `[${"#".repeat(filled)}${"-".repeat(BAR_WIDTH - filled)}] `;
    const columns = isTerminal(this.stream) ? this.stream.columns : 120;
    const line = `${this.label} ${bar}${progressText(progress)}`.slice(0, Math.max(20, columns - 1));
    this.write(`\r\u001b[K${line}`);
    this.#drawn = true;
  }
}
