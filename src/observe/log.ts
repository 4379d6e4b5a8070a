import { FerryError } from "../errors.js";
import { ControlUnreachable, NodeIdTaken, NotSetUp } from "../ports/control-store.js";
import { LegacyRefused, LegacyUnreachable, OutcomeUnknown } from "../ports/legacy-store.js";
import { RedisLost, RedisRefused, RedisUnreachable } from "../ports/redis-records.js";

export type Level = "info" | "warn" | "error";
export type Fields = Readonly<Record<string, string | number | boolean | null>>;

export interface LogOptions {
  /** Takes one line with its end. Default: stderr. */
  readonly write?: (line: string) => void;
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
  /** A message is written at once and then once in this many milliseconds, however often it comes. Default 10,000. */
  readonly every?: number;
  /** On every line. */
  readonly fields?: Fields;
  /** One JSON document a line instead of `key=value` pairs. */
  readonly json?: boolean;
}

interface Repetition {
  /** Held back since the last line. */
  held: number;
  level: Level;
  fields: () => Fields;
  timer: NodeJS.Timeout;
}

/**
 * One line for each thing that happened, as `key=value` pairs, on stderr. An outage makes the same thing happen with
 * every request, so each message has its own limit; what was held back is told by the next line of that message.
 */
export class Log {
  readonly #write: (line: string) => void;
  readonly #now: () => number;
  readonly #every: number;
  readonly #fields: Fields;
  readonly #json: boolean;
  readonly #recent = new Map<string, Repetition>();

  constructor(options: LogOptions = {}) {
    this.#write = options.write ?? ((line) => process.stderr.write(line));
    this.#now = options.now ?? Date.now;
    this.#every = options.every ?? 10_000;
    this.#fields = options.fields ?? {};
    this.#json = options.json ?? false;
  }

  info(message: string, fields: Fields = {}): void {
    this.#line("info", message, fields);
  }

  warn(message: string, fields: Fields = {}): void {
    this.#line("warn", message, fields);
  }

  error(message: string, fields: Fields = {}): void {
    this.#line("error", message, fields);
  }

  /**
   * At most once in a while for each `message`, which therefore must not hold anything that varies. `fields` is asked
   * only for what is written: the last occurrence speaks for those held back.
   */
  limited(level: Level, message: string, fields: () => Fields): void {
    const recent = this.#recent.get(message);
    if (recent === undefined) {
      this.#line(level, message, fields());
      this.#recent.set(message, { held: 0, level, fields, timer: this.#schedule(message) });
      return;
    }
    recent.held++;
    recent.level = level;
    recent.fields = fields;
  }

  /** Writes what is held back. */
  close(): void {
    for (const [message, recent] of this.#recent) {
      clearTimeout(recent.timer);
      this.#release(message, recent);
    }
    this.#recent.clear();
  }

  #schedule(message: string): NodeJS.Timeout {
    const timer = setTimeout(() => {
      const recent = this.#recent.get(message);
      if (recent === undefined) return;
      if (recent.held === 0) {
        this.#recent.delete(message);
        return;
      }
      this.#release(message, recent);
      recent.held = 0;
      recent.timer = this.#schedule(message);
    }, this.#every);
    return timer.unref();
  }

  #release(message: string, { held, level, fields }: Repetition): void {
    if (held > 0) this.#line(level, message, { ...fields(), repeated: held });
  }

  #line(level: Level, message: string, fields: Fields): void {
    const time = new Date(this.#now()).toISOString();
    const all = { ...fields, ...this.#fields };
    if (this.#json) {
      this.#write(`${JSON.stringify({ time, level, msg: message, ...all })}\n`);
      return;
    }
    const head = `time=${time} level=${level} msg=${text(message)}`;
    const pairs = Object.entries(all).map(([key, value]) => ` ${key}=${text(value)}`);
    this.#write(`${head}${pairs.join("")}\n`);
  }
}

/**
 * An error as fields of a line. Texts of our own errors never hold a session id or a value; those of any other may (a
 * JSON parser quotes what it could not read), so of them only the name, the code and the place are told.
 */
export function errorFields(error: unknown): Fields {
  if (!(error instanceof Error)) return { error: typeof error };
  const code = (error as { code?: unknown }).code;
  const coded: Fields = typeof code === "string" || typeof code === "number" ? { code } : {};
  if (OURS.some((type) => error instanceof type)) return { error: error.name, ...coded, reason: error.message };
  const place = placeOf(error);
  const placed: Fields = place === null ? {} : { at: place };
  return { error: error.name, ...coded, ...placed };
}

/** File, line and column of the topmost frame; null where the text of the error cannot be told from the frames. */
function placeOf({ stack, message }: Error): string | null {
  const text = stack?.indexOf(message) ?? -1;
  if (text === -1) return null;
  const frame = /^\s+at (?:.*\()?(?:.*[\\/])?([^\\/()]+:\d+:\d+)\)?$/m;
  return frame.exec(stack!.slice(text + message.length))?.[1] ?? null;
}

const OURS = [
  FerryError,
  ControlUnreachable,
  NotSetUp,
  NodeIdTaken,
  LegacyUnreachable,
  LegacyRefused,
  OutcomeUnknown,
  RedisUnreachable,
  RedisLost,
  RedisRefused,
];

/** Bare where that cannot be misread, else quoted; one line in any case. */
function text(value: Fields[string]): string {
  const plain = String(value);
  return /^[\w.:/@+-]+$/.test(plain) ? plain : JSON.stringify(plain);
}
