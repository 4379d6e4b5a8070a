import { userInfo } from "node:os";
import type { z } from "zod";
import { interpolate } from "./config/interpolate.js";
import { allKeyPaths, knownKeys } from "./config/json-schema.js";
import { printable } from "./config/printable.js";
import { configSchema, crossProblems, isSection } from "./config/schema.js";
import { locateConfig, readConfigFile } from "./config/source.js";
import type { Config } from "./core/config.js";
import { nearest } from "./core/nearest.js";
import { PAIRINGS } from "./core/preset-names.js";
import { FerryError } from "./errors.js";

export { formatDuration, parseDuration } from "./config/duration.js";
export { redactUrl } from "./config/urls.js";

/** What flags of the command line (or a caller) put above the environment and the file. */
export interface ConfigFlags {
  readonly migration?: string | undefined;
  readonly legacyUrl?: string | undefined;
  readonly redisUrl?: string | undefined;
  readonly controlUrl?: string | undefined;
}

type Environment = Readonly<Record<string, string | undefined>>;

export interface LoadConfigInput {
  /** A path, or the content of a file as an object (or a Config loaded before); else the nearest file upward. */
  readonly config?: string | object | undefined;
  readonly flags?: ConfigFlags | undefined;
  /** The process' own environment unless given. */
  readonly env?: Environment | undefined;
  readonly cwd?: string | undefined;
}

/**
 * Loads, completes and checks the configuration: flag > environment > file > default. The result is frozen. Every
 * problem of the file is told at once.
 * @throws FerryError CONFIG_NOT_FOUND or CONFIG_INVALID, never anything else.
 */
export function loadConfig(input: LoadConfigInput = {}): Config {
  try {
    return load(input);
  } catch (error) {
    if (error instanceof FerryError) throw error;
    throw new FerryError("CONFIG_INVALID", "the configuration cannot be taken apart: it is not plain data");
  }
}

function load(input: LoadConfigInput): Config {
  const env = input.env ?? process.env;
  const problems: string[] = [];
  let name = "the configuration";
  let data: unknown;
  if (typeof input.config === "object") {
    data = input.config;
  } else {
    name = locateConfig(input.config ?? nonEmpty(env.SESSIONFERRY_CONFIG), input.cwd ?? process.cwd());
    data = readConfigFile(name);
  }
  if (!isSection(data)) throw invalid(name, ["it must be a list of keys with values, such as `migration: shop`"]);

  // `${NAME}` is a notation of files; an object comes from code, which has its own ways.
  const fromFile = typeof input.config !== "object";
  const overridden = withOverrides(data, input.flags ?? {}, env, fromFile);
  const unresolved = new Set<string>();
  const raw = fromFile ? interpolate(overridden, env, { problems, unresolved }) : overridden;
  const result = configSchema.safeParse(raw);
  if (!result.success) {
    const told = result.error.issues.filter((issue) => !unresolved.has(issue.path.map(String).join(".")));
    problems.push(...told.flatMap(describeIssue));
  }
  problems.push(...crossProblems(raw));
  if (!result.success || problems.length > 0) throw invalid(name, problems);
  return deepFreeze(complete(result.data));
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === undefined || text === "" ? undefined : text;
}

function invalid(name: string, problems: readonly string[]): FerryError {
  const unique = [...new Set(problems)];
  const count = unique.length === 1 ? "a problem" : `${unique.length} problems`;
  return new FerryError("CONFIG_INVALID", `${name} has ${count}:\n${unique.map((line) => `  ${line}`).join("\n")}`);
}

/** Puts flags and environment over the file, before names are replaced: what is overridden needs no variable. */
function withOverrides(
  data: Record<string, unknown>,
  flags: ConfigFlags,
  env: Environment,
  fromFile: boolean,
): Record<string, unknown> {
  const { $schema: _editor, ...raw } = { ...data };
  // `control: target` is the short form of `control: { url: target }`.
  if (typeof raw.control === "string") raw.control = { url: raw.control };
  // A value given here is final: a `${` in it is meant as it stands.
  const literal = (text: string) => (fromFile ? text.replaceAll("${", "$$${") : text);
  const put = (section: string, value: string | undefined) => {
    if (value === undefined) return;
    const present = raw[section];
    if (present === undefined || isSection(present)) raw[section] = { ...present, url: literal(value) };
  };
  if (flags.migration !== undefined) raw.migration = literal(flags.migration);
  put("legacy", flags.legacyUrl ?? nonEmpty(env.SESSIONFERRY_LEGACY_URL));
  put("redis", flags.redisUrl ?? nonEmpty(env.SESSIONFERRY_REDIS_URL));
  put("control", flags.controlUrl ?? nonEmpty(env.SESSIONFERRY_CONTROL_URL));
  return raw;
}

function describeIssue(issue: z.core.$ZodIssue): string[] {
  const path = issue.path.map((part) => printable(String(part)));
  if (issue.code !== "unrecognized_keys") {
    return [`${path.length === 0 ? "the configuration" : path.join(".")} ${issue.message}`];
  }
  const prefix = path.map((part) => `${part}.`).join("");
  return issue.keys.map((key) => {
    const here = nearest(key, knownKeys(path));
    const elsewhere = allKeyPaths().filter((known) => known.endsWith(`.${key}`) || known === key);
    const meant = here !== null ? prefix + here : elsewhere.length === 1 ? elsewhere[0] : undefined;
    const known = knownKeys(path).join(", ");
    const hint = meant !== undefined ? `did you mean ${meant}?` : `known here are ${known === "" ? "no keys" : known}`;
    return `${prefix}${printable(key)} is not a key; ${hint}`;
  });
}

/** Makes the Config of the validated file: sections of later releases go, the control store gets its real URL. */
function complete(data: z.output<typeof configSchema>): Config {
  const { keyspaces: _keyspaces, control, legacy, redis, ...rest } = data;
  const { table, prefix, distribution, ...legacyRest } = legacy;
  const { prefix: redisPrefix, preset = PAIRINGS[legacy.preset].redis[0], ...redisRest } = redis;
  const named = control?.url ?? "same";
  const controlUrl = named === "same" ? legacy.url : named === "target" ? redis.url : named;
  const { queue } = rest.workers;
  return {
    ...rest,
    legacy: { ...legacyRest, ...defined({ table, prefix, distribution }) },
    redis: { preset, ...redisRest, ...defined({ prefix: redisPrefix }) },
    control: { url: controlUrl },
    workers: { ...rest.workers, queue: queue === "target" ? redis.url : queue },
  };
}

function defined<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as never;
}

/** Freezes sections and lists; buffers and class instances (inside `redis.tls`) stay as they are. */
function deepFreeze<T>(value: T): T {
  const plain = Array.isArray(value) || (isSection(value) && Object.getPrototypeOf(value) === Object.prototype);
  if (!plain || Object.isFrozen(value)) return value;
  for (const child of Object.values(value as object)) deepFreeze(child);
  return Object.freeze(value);
}

/** What the command line wants to know of the environment besides the configuration. */
export interface TerminalEnvironment {
  readonly noColor: boolean;
  readonly dumb: boolean;
}

export function terminalEnvironment(env: Environment = process.env): TerminalEnvironment {
  return { noColor: nonEmpty(env.NO_COLOR) !== undefined, dumb: env.TERM === "dumb" };
}

/** Who runs this command, for the ledger: SESSIONFERRY_BY (a pipeline's name, say), else the user's name. */
export function operatorName(env: Environment = process.env): string {
  const named = nonEmpty(env.SESSIONFERRY_BY);
  if (named !== undefined) return named.replace(/[^\x20-\x7e]/g, "?").slice(0, 80);
  try {
    return userInfo().username;
  } catch {
    // A container may run under a number that has no name.
    return "unknown";
  }
}

/** The environment for child processes of the demo: ours, without what would point them at somebody's migration. */
export function demoEnvironment(env: Environment = process.env): Record<string, string | undefined> {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith("SESSIONFERRY_")));
}
