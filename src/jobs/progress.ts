import type { Clock } from "../ports/clock.js";

/** What every job tells while it runs. */
export interface Progress {
  readonly done: number;
  /** An estimate: sessions come and go meanwhile. */
  readonly total: number;
  /** Sids a second over the last ten seconds. */
  readonly rate: number;
  /** Null as long as nothing can be foretold. */
  readonly etaSeconds: number | null;
}

const WINDOW = 10_000;

/** The rate over the last ten seconds, from what is done at some moments. */
export class Pulse {
  #beats: { at: number; done: number }[] = [];

  constructor(readonly clock: Clock) {}

  measure(done: number, total: number): Progress {
    const now = this.clock.now();
    this.#beats.push({ at: now, done });
    while (this.#beats.length > 2 && this.#beats[0]!.at < now - WINDOW) this.#beats.shift();
    const first = this.#beats[0]!;
    const seconds = (now - first.at) / 1000;
    const rate = seconds > 0 ? (done - first.done) / seconds : 0;
    const etaSeconds = rate > 0 ? Math.ceil(Math.max(0, total - done) / rate) : null;
    return { done, total: Math.max(total, done), rate, etaSeconds };
  }
}

/** The part of a stream that a progress display needs. */
export interface ProgressStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

export interface ProgressDisplay {
  show(progress: Progress, note: string): void;
  /** Leaves the last state standing on a line of its own. */
  end(progress: Progress, note: string): void;
}

const REDRAW_EVERY = 200;
const LINE_EVERY = 5_000;
const BAR_WIDTH = 24;

/** A bar that redraws itself on a terminal; elsewhere (a log, a pipe) a line every few seconds. */
export function progressDisplay(stream: ProgressStream, clock: Clock, title: string): ProgressDisplay {
  let drawnAt = Number.NEGATIVE_INFINITY;
  const line = (progress: Progress, note: string) => `${title}: ${figures(progress)}${note === "" ? "" : `  ${note}`}`;
  const bar = (progress: Progress, note: string) => {
    const text = `${title} ${drawBar(progress)} ${figures(progress)}${note === "" ? "" : `  ${note}`}`;
    return `\r\u001b[2K${text.slice(0, (stream.columns ?? 80) - 1)}`;
  };
  return {
    show(progress, note) {
      const now = clock.now();
      if (now - drawnAt < (stream.isTTY ? REDRAW_EVERY : LINE_EVERY)) return;
      drawnAt = now;
      stream.write(stream.isTTY ? bar(progress, note) : `${line(progress, note)}\n`);
    },
    end(progress, note) {
      stream.write(`${stream.isTTY ? bar(progress, note) : line(progress, note)}\n`);
    },
  };
}

function drawBar({ done, total }: Progress): string {
  const filled = total === 0 ? BAR_WIDTH : Math.floor((done / total) * BAR_WIDTH);
  return `[${"=".repeat(filled)}${" ".repeat(BAR_WIDTH - filled)}]`;
}

function figures({ done, total, rate, etaSeconds }: Progress): string {
  const share = total === 0 ? 100 : Math.floor((done / total) * 100);
  const eta = etaSeconds === null || done >= total ? "" : `, ${clockTime(etaSeconds)} left`;
  return `${done} of ${total} (${share} %), ${Math.round(rate)}/s${eta}`;
}

function clockTime(seconds: number): string {
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const [h, m, s] = parts.map((part) => String(part).padStart(2, "0"));
  return h === "00" ? `${m}:${s}` : `${h}:${m}:${s}`;
}
