import { parseDuration } from "../config.js";
import { FerryError } from "../errors.js";

/**
 * One option or positional of a command: how people see it, and how its text becomes a value. All are read as text
 * first, so that a wrong value is told in our words, with the flag's name, before anything is opened.
 */
export interface Option<T> {
  readonly describe: string;
  readonly kind: "flag" | "text";
  /** What stands for the value in the help, such as N or TEXT. */
  readonly placeholder?: string;
  readonly choices?: readonly string[];
  readonly hidden?: boolean;
  readonly required?: boolean;
  /** `text` is undefined when the option was not given. @throws FerryError USAGE */
  read(text: string | boolean | undefined, name: string): T;
}

export type Options = Readonly<Record<string, Option<unknown>>>;
export type Values<O extends Options> = { readonly [K in keyof O]: O[K] extends Option<infer T> ? T : never };

function wrong(name: string, text: string): FerryError {
  return new FerryError("USAGE", `${name} ${text}`);
}

export function flag(describe: string): Option<boolean> {
  return { describe, kind: "flag", read: (value) => value === true };
}

function optional<T>(
  describe: string,
  placeholder: string,
  parse: (text: string, name: string) => T,
): Option<T | undefined> {
  return {
    describe,
    placeholder,
    kind: "text",
    read: (value, name) => {
      if (value === undefined) return undefined;
      if (typeof value !== "string" || value === "") throw wrong(name, `needs a value: ${placeholder}`);
      return parse(value, name);
    },
  };
}

export function text(describe: string, placeholder = "TEXT"): Option<string | undefined> {
  return optional(describe, placeholder, (value) => value);
}

export function whole(describe: string, min: number, max: number): Option<number | undefined> {
  return optional(describe, "N", (value, name) => {
    const number = /^\d{1,12}$/.test(value) ? Number(value) : Number.NaN;
    if (number >= min && number <= max) return number;
    throw wrong(name, `must be a whole number from ${min} to ${max}`);
  });
}

export function duration(describe: string): Option<number | undefined> {
  return optional(describe, "T", (value, name) => {
    const milliseconds = parseDuration(value);
    if (milliseconds !== null && milliseconds > 0) return milliseconds;
    throw wrong(name, "must be a duration such as 500ms, 30s or 5m");
  });
}

export function choice<const T extends string>(describe: string, choices: readonly T[]): Option<T | undefined> {
  const option = optional(describe, "NAME", (value, name) => {
    if ((choices as readonly string[]).includes(value)) return value as T;
    throw wrong(name, `must be one of ${choices.join(", ")}`);
  });
  return { ...option, choices };
}

/** The same option, but it must be given. */
export function must<T>(option: Option<T | undefined>): Option<T> {
  return {
    ...option,
    required: true,
    read: (value, name) => {
      const result = option.read(value, name);
      if (result === undefined) throw wrong(name, "is required");
      return result;
    },
  };
}

/** Options that several commands share, so that they mean the same everywhere. */
export const yes = flag("Skip the question.");
export const dryRun = flag("Print the plan in its order, change nothing, exit as the real command would.");
export const reason = text("Why, for the ledger.");
