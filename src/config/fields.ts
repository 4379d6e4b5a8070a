import { z } from "zod";
import { parseDuration } from "./duration.js";
import { type StoreUrlRole, urlProblem } from "./urls.js";

/**
 * The kinds of values that a configuration is made of. Every message is the end of a sentence that begins with the full
 * path of the key, and quotes no value: a key in the wrong place may hold a password.
 */

/** In an editor a value may still be `${NAME}`; when the schema is applied, names have been replaced already. */
const VARIABLE = "\\$\\{[A-Za-z_][A-Za-z0-9_]*\\}";

const required = (message: string) => (issue: { readonly input?: unknown }) =>
  issue.input === undefined ? "is required" : message;

interface Range {
  readonly min: number;
  readonly max: number;
}

function number(range: Range & { readonly integer?: boolean }) {
  const kind = range.integer === true ? "a whole number" : "a number";
  const message = `must be ${kind} from ${range.min} to ${range.max}`;
  return z
    .union(
      [
        z.number({ error: message }).min(range.min, { error: message }).max(range.max, { error: message }),
        z.string().regex(new RegExp(`^(\\d+(\\.\\d+)?|${VARIABLE})$`), { error: message }),
      ],
      { error: message },
    )
    .transform((value, context) => {
      const result = Number(value);
      const whole = range.integer !== true || Number.isInteger(result);
      if (whole && result >= range.min && result <= range.max) return result;
      context.addIssue({ code: "custom", message });
      return z.NEVER;
    });
}

export const whole = (min: number, max: number) => number({ min, max, integer: true });
export const share = () => number({ min: 0, max: 1 });

export function duration(range: Range & { readonly told: string }) {
  const message = `must be a duration such as 50ms, 5s, 15m, 12h or 30d, ${range.told}`;
  return z
    .union(
      [
        z.number({ error: message }).min(range.min, { error: message }).max(range.max, { error: message }),
        z.string().regex(new RegExp(`^\\s*(\\d+(\\.\\d+)?(\\s*(ms|s|m|h|d))?|${VARIABLE})\\s*$`), { error: message }),
      ],
      { error: message },
    )
    .transform((value, context) => {
      const result = parseDuration(value);
      if (result !== null && result >= range.min && result <= range.max) return result;
      context.addIssue({ code: "custom", message });
      return z.NEVER;
    });
}

export const SECOND = 1000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

export const deadline = () => duration({ min: 1, max: 10 * MINUTE, told: "from 1ms to 10m" });
export const stay = () => duration({ min: 0, max: 365 * DAY, told: "at most 365d" });

export function text(pattern: RegExp, message: string) {
  return z.string({ error: required(message) }).regex(pattern, { error: message });
}

export function url(role: StoreUrlRole, words: readonly string[] = []) {
  return z.string({ error: required("must be a URL") }).superRefine((value, context) => {
    if (words.includes(value)) return;
    const problem = urlProblem(value, role);
    if (problem !== null) context.addIssue({ code: "custom", message: problem });
  });
}

export const flag = () => z.boolean({ error: "must be true or false" });

export function oneOf<const T extends readonly [string, ...string[]]>(values: T) {
  return z.enum(values, { error: required(`must be one of ${values.join(", ")}`) });
}

export function section<T extends z.ZodRawShape>(shape: T) {
  return z.strictObject(shape, { error: required("must be a section with keys of its own") });
}

/** Percentages of a ramp: each a step of its own, the last one everybody. */
export function ramp(fallback: readonly number[]) {
  const message = "must be whole percentages that rise strictly from at least 1 to exactly 100, such as [10, 50, 100]";
  return z
    .array(z.number({ error: message }), { error: message })
    .max(100, { error: message })
    .superRefine((steps, context) => {
      const rising = steps.every((step, i) => Number.isInteger(step) && step >= 1 && step > (steps[i - 1] ?? 0));
      if (!rising || steps.at(-1) !== 100) context.addIssue({ code: "custom", message });
    })
    .default([...fallback]);
}
