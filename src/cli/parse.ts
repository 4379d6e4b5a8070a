import yargs, { type Argv, type Options as YargsOptions } from "yargs";
import { Parser } from "yargs/helpers";
import { nearest } from "../core/nearest.js";
import { FerryError } from "../errors.js";
import type { CommandModule } from "./command.js";
import type { Option, Options } from "./options.js";
import { VERBS, type Verb } from "./verbs.js";

/** Options that every command has. */
export interface GlobalValues {
  readonly config: string | undefined;
  readonly json: boolean;
  readonly verbose: boolean;
  readonly legacyUrl: string | undefined;
  readonly redisUrl: string | undefined;
  readonly controlUrl: string | undefined;
}

export type Parsed =
  | { readonly kind: "print"; readonly text: string; readonly what: "help" | "version" }
  | {
      readonly kind: "command";
      readonly command: CommandModule;
      readonly global: GlobalValues;
      readonly values: Readonly<Record<string, unknown>>;
    };

const GLOBAL_TEXT = {
  config: "The configuration file; by default the nearest sessionferry.yaml upward [SESSIONFERRY_CONFIG]",
  "legacy-url": "Instead of legacy.url of the file [SESSIONFERRY_LEGACY_URL]",
  "redis-url": "Instead of redis.url of the file [SESSIONFERRY_REDIS_URL]",
  "control-url": "Instead of control.url of the file [SESSIONFERRY_CONTROL_URL]",
} as const;
const GLOBAL_FLAGS = {
  json: "Print one JSON document on stdout; logs go to stderr",
  verbose: "Say more on stderr, with stack traces of unexpected errors",
} as const;
const GLOBAL_NAMES = [...Object.keys(GLOBAL_TEXT), ...Object.keys(GLOBAL_FLAGS), "help", "version"];

/** Flags that take no value, wherever they stand: needed to find the verb among the words before it is known. */
const BARE_FLAGS = [
  "json",
  "verbose",
  "help",
  "version",
  "yes",
  "dry-run",
  "watch",
  "force",
  "redis-lost",
  "repair",
  "adopt",
  "install",
  "clients",
  "plan",
  "measure",
  "workers",
];

/** True when --json was given, whatever else is wrong with the line. */
export function wantsJson(argv: readonly string[]): boolean {
  const end = argv.indexOf("--");
  return (end === -1 ? argv : argv.slice(0, end)).some((word) => word === "--json" || word === "--json=true");
}

interface Loaded {
  readonly verb: Verb;
  readonly command: CommandModule;
}

/** The verb that a command line names, as far as its words are verbs, with its module. */
async function load(argv: readonly string[]): Promise<Loaded | null> {
  const words = Parser([...argv], { boolean: BARE_FLAGS, string: Object.keys(GLOBAL_TEXT) })._.map(String);
  let verbs: readonly Verb[] = VERBS;
  let found: Verb | null = null;
  for (const word of words) {
    const next = verbs.find((verb) => verb.name === word);
    if (next === undefined) break;
    found = next;
    verbs = next.verbs ?? [];
  }
  if (found?.load === undefined) return null;
  return { verb: found, command: (await found.load()).command };
}

function yargsOption(name: string, option: Option<unknown>): YargsOptions {
  return {
    describe: option.describe,
    type: option.kind === "flag" ? "boolean" : "string",
    ...(option.kind === "text" ? { requiresArg: true } : {}),
    ...(option.choices === undefined ? {} : { choices: [...option.choices] }),
    ...(option.hidden === true ? { hidden: true } : {}),
    group: GLOBAL_NAMES.includes(name) ? "Everywhere:" : "Options:",
  };
}

function kebab(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** Reads the raw values by the command's own options; the first wrong one is told. */
function readValues(options: Options, raw: Readonly<Record<string, unknown>>, shown: (name: string) => string) {
  return Object.fromEntries(
    Object.entries(options).map(([name, option]) => {
      const value = raw[kebab(name)];
      if (Array.isArray(value)) throw new FerryError("USAGE", `${shown(name)} was given more than once`);
      return [name, option.read(value as string | boolean | undefined, shown(name))];
    }),
  );
}

/** Takes a command line apart. Nothing is run and nothing opened. @throws FerryError USAGE */
export async function parse(argv: readonly string[], version: string): Promise<Parsed> {
  const loaded = await load(argv);
  let chosen: Parsed | null = null;

  const describeCommand = (line: string, verb: Verb, parser: Argv): Argv => {
    if (verb !== loaded?.verb) {
      // Not the one to run: its line in the help is all that is needed of it.
      return parser.command(line, listed(verb), (inner) => inner.strict(false));
    }
    const { command } = loaded;
    const places = Object.entries(command.positionals).map(([name, option]) =>
      option.required === true ? ` <${name}>` : ` [${name}]`,
    );
    return parser.command(
      line + places.join(""),
      listed(verb),
      (inner) => {
        for (const [name, option] of Object.entries(command.positionals)) {
          const { choices } = option;
          inner.positional(name, {
            describe: option.describe,
            type: "string",
            ...(choices ? { choices: [...choices] } : {}),
          });
        }
        for (const [name, option] of Object.entries(command.options)) {
          inner.option(kebab(name), yargsOption(name, option));
        }
        for (const [example, describe] of command.examples) inner.example(example, describe);
        return inner;
      },
      (raw) => {
        chosen = {
          kind: "command",
          command,
          global: globalValues(raw),
          values: {
            ...readValues(command.positionals, raw, (name) => `<${name}>`),
            ...readValues(command.options, raw, (name) => `--${kebab(name)}`),
          },
        };
      },
    );
  };

  const describeVerbs = (parser: Argv, verbs: readonly Verb[]): Argv => {
    for (const verb of verbs) {
      if (verb.verbs === undefined) describeCommand(verb.name, verb, parser);
      else parser.command(verb.name, verb.describe, (inner) => describeGroup(inner, verb));
    }
    return parser;
  };

  const describeGroup = (parser: Argv, group: Verb): Argv => {
    if (group.load !== undefined) describeCommand("$0", group, parser);
    else parser.demandCommand(1, 1, `Name one of: ${(group.verbs ?? []).map((verb) => verb.name).join(", ")}`);
    return describeVerbs(parser, group.verbs ?? []);
  };

  const parser = yargs()
    .scriptName("sessionferry")
    .locale("en")
    .usage("$0 <command>\n\nMoves live sessions from a legacy store to Redis while the site stays up.")
    .parserConfiguration({ "parse-numbers": false, "parse-positional-numbers": false, "camel-case-expansion": false })
    .exitProcess(false)
    .strict()
    .recommendCommands()
    .demandCommand(
      1,
      `Name a command: ${VERBS.filter((verb) => !verb.hidden)
        .map((verb) => verb.name)
        .join(", ")}`,
    )
    .help()
    .version(version)
    .wrap(110)
    .epilogue(
      "Exit codes: 0 done, 1 unexpected, 2 usage, 3 refused, 4 inconsistent, 5 unreachable, 6 pending, 7 held, 130 interrupted",
    );
  for (const [name, describe] of Object.entries(GLOBAL_TEXT)) {
    parser.option(name, { describe, type: "string", requiresArg: true, global: true, group: "Everywhere:" });
  }
  for (const [name, describe] of Object.entries(GLOBAL_FLAGS)) {
    parser.option(name, { describe, type: "boolean", global: true, group: "Everywhere:" });
  }
  parser.group(["help", "version"], "Everywhere:");
  describeVerbs(parser, VERBS);
  parser.fail((message: string | null, error: Error | undefined) => {
    if (error instanceof FerryError) throw error;
    const said = message ?? error?.message ?? "the command line cannot be read";
    throw new FerryError("USAGE", explain(said, argv, loaded?.command ?? null));
  });

  let printed = "";
  parser.parse([...argv], {}, (_error, _values, text) => {
    printed = text;
  });
  if (chosen !== null) return chosen;
  if (printed === "") throw new FerryError("USAGE", "the command line cannot be read");
  const what = argv.includes("--help") || !argv.includes("--version") ? "help" : "version";
  return { kind: "print", text: printed, what };
}

/** The verb's line in the help. yargs leaves out what is described by `false`, which its types tell of elsewhere only. */
function listed(verb: Verb): string {
  return (verb.hidden === true ? false : verb.describe) as string;
}

function globalValues(raw: Readonly<Record<string, unknown>>): GlobalValues {
  const single = (name: string): string | undefined => {
    const value = raw[name];
    if (Array.isArray(value)) throw new FerryError("USAGE", `--${name} was given more than once`);
    return typeof value === "string" ? value : undefined;
  };
  return {
    config: single("config"),
    json: raw.json === true,
    verbose: raw.verbose === true,
    legacyUrl: single("legacy-url"),
    redisUrl: single("redis-url"),
    controlUrl: single("control-url"),
  };
}

/** Session ids may begin with hyphens, too; options are of small letters. */
function isName(option: string): boolean {
  return /^--?[a-z][a-z-]{0,30}$/.test(option);
}

/**
 * yargs' complaint in our words. A word that was not asked for is never quoted: it may be a session id that somebody
 * typed where it is read from stdin.
 */
function explain(message: string, argv: readonly string[], command: CommandModule | null): string {
  const unknown = /^Unknown (?:argument|command)s?: (.*)$/s.exec(message)?.[1]?.split(", ");
  if (/^Not enough non-option arguments/.test(message) && command !== null) {
    const missing = Object.entries(command.positionals).filter(([, { required }]) => required === true);
    if (missing.length > 0) return `${missing.map(([name]) => `<${name}>`).join(" ")} is missing`;
  }
  // What was given is not repeated: it may be a session id at the wrong place.
  const choice = /Argument: ([\w-]+), Given: .*, Choices: (.*)$/s.exec(message);
  if (choice !== null) return `${choice[1]} must be one of ${choice[2]!.replaceAll('"', "")}`;
  if (unknown === undefined) {
    const lines = message.split("\n").map((line) => line.trim());
    return lines.filter((line) => line !== "").join("; ");
  }
  const typed = argv.map((word) => word.replace(/=.*$/s, ""));
  const known = [...Object.keys(command?.options ?? {}).map(kebab), ...GLOBAL_NAMES];
  const problems = unknown.map((name) => {
    const option = typed.find((word) => word === `--${name}` || (word.startsWith("-") && word.includes(name)));
    if (option === undefined) return command === null ? null : "a word too many";
    const meant = nearest(name, known);
    return `unknown option${isName(option) ? ` ${option}` : ""}${meant === null ? "" : ` (did you mean --${meant}?)`}`;
  });
  const told = [...new Set(problems.filter((problem) => problem !== null))];
  return told.length > 0 ? told.join("; ") : "there is no such command";
}
