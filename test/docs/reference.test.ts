import { readdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { parse } from "../../src/cli/parse.js";
import { VERBS, type Verb } from "../../src/cli/verbs.js";
import { parseDuration } from "../../src/config/duration.js";
import { allKeyPaths } from "../../src/config/json-schema.js";
import { configSchema } from "../../src/config/schema.js";
import { gatesOf } from "../../src/core/gates.js";
import { PHASE_NAMES } from "../../src/core/phase.js";
import { CATALOGUE } from "../../src/errors.js";
import { commandsOf } from "./commands.js";
import { blocksOf, spansOf } from "./sections.js";
import { documentOf } from "./stage.js";

const DOCUMENTS = ["README.md", "RUNBOOK.md"] as const;

/** What is shown and not run by the tests beside this one, and why. */
const NOT_RUN: Readonly<Record<string, string>> = {
  "npm ci && npm run demo": "the demo has its own tests and takes minutes",
  "npm install sessionferry": "the tests' scratch folder has the package of this very tree",
  "node app.mjs": "it serves until it is ended; the tests start it as several processes",
  "npm ci": "it replaces the packages under the running tests",
  "npm test": "these are the tests",
  "sessionferry doctor --config php.yaml": "its listener names a memcached at the usual port; test/cli/proxy.test.ts",
  "sessionferry setup --config php.yaml": "the same",
  "sessionferry proxy --config php.yaml": "it serves until it is ended; test/cli/proxy.test.ts starts it",
  "curl -fsS http://127.0.0.1:9150/readyz": "it asks that proxy",
  "npm run test:faults": "it takes many minutes",
  "npm run test:long": "it takes minutes",
  "npm run fuzz": "it takes many minutes",
  "npm run soak -- --minutes 30 --seed 1 --legacy memcached": "it takes half an hour",
  "npm run bench -- --quick": "test/bench runs a short one",
  'redis-cli -u "$REDIS_URL" CONFIG SET maxmemory 8gb': "machines with Redis from Docker have no redis-cli",
};

describe("the blocks of the documents", () => {
  test("are run, or listed here with a reason, or no commands", () => {
    const blocks = DOCUMENTS.flatMap((name) => blocksOf(documentOf(name)).map((block) => ({ name, ...block })));
    const languages = blocks.filter(({ language }) => !["sh", "console"].includes(language));
    expect(languages.map(({ name, line, language }) => `${name}:${line} ${language}`)).toEqual([]);
    const shown = blocks
      .filter(({ language }) => language === "console")
      .flatMap(({ lines }) => lines.filter((line) => line.trim() !== "").map((line) => line.trim()));
    expect([...new Set(shown)].sort()).toEqual(Object.keys(NOT_RUN).sort());
  });
});

interface Mention {
  readonly at: string;
  readonly words: readonly string[];
}

/** Every `sessionferry ...` in blocks and code spans: the words after the name, values and notation taken off. */
function mentions(): Mention[] {
  return DOCUMENTS.flatMap((name) => {
    const markdown = documentOf(name);
    const run = commandsOf(markdown).map(({ line, command }) => ({ line, code: command }));
    return [...run, ...spansOf(markdown)]
      .filter(({ code }) => /^sessionferry [a-z-]/.test(code))
      .map(({ line, code }) => ({ at: `${name}:${line}`, words: wordsOf(code) }));
  });
}

function wordsOf(code: string): string[] {
  const bare = code.replace(/ <.*$| > .*$/, "").replace(/[[\]]/g, "");
  const words = bare.match(/"[^"]*"|'[^']*'|\S+/g) ?? [];
  return words.slice(1).map((word) => word.replace(/^["']|["']$/g, ""));
}

/** Notation of the reference, as a value that the option takes. */
const VALUES: Readonly<Record<string, string>> = {
  N: "100",
  T: "30s",
  TEXT: "why",
  FILE: "report.md",
  ID: "x",
  $NODE: "x",
};

/** A word in capitals after `--to` or `show` names a phase, after the demo's `--legacy` a store. */
function argumentOf(word: string, before: string | undefined): string {
  if (word !== "NAME") return VALUES[word] ?? word;
  return before === "--legacy" ? "postgres" : "read-through";
}

function leavesOf(verbs: readonly Verb[], above: readonly string[] = []): string[] {
  return verbs
    .filter(({ hidden }) => hidden !== true)
    .flatMap(({ name, load, verbs: below = [] }) => [
      ...(load === undefined ? [] : [[...above, name].join(" ")]),
      ...leavesOf(below, [...above, name]),
    ]);
}

describe("the command line in the documents", () => {
  test.each(mentions().map(({ at, words }) => [`${at}: sessionferry ${words.join(" ")}`, words] as const))(
    "%s",
    async (_title, words) => {
      const args = words.map((word, i) => argumentOf(word, words[i - 1]));
      // A verb that only has verbs below it (`sessionferry phase`) is no command line.
      const parsed = await parse(args, "0");
      expect(["command", "print"]).toContain(parsed.kind);
    },
  );

  test("the README's reference has every command with every option of its own", async () => {
    const rows = rowsAfter("README.md", "| command | what it does |").map(([cell]) => cell ?? "");
    const told = rows.flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? ""));
    const missing: string[] = [];
    for (const leaf of leavesOf(VERBS)) {
      const lines = told.filter((line) => leafOf(line) === leaf);
      if (lines.length === 0) missing.push(leaf);
      const { load } = find(leaf.split(" "));
      const { command } = await load!();
      for (const option of Object.keys(command.options)) {
        const flag = `--${option.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
        // The wishes to a running backfill share one row; --dry-run is told above the table for all.
        const shared = flag === "--dry-run" && leaf.startsWith("backfill ");
        if (!shared && !lines.some((line) => new RegExp(`${flag}\\b`).test(line))) missing.push(`${leaf} ${flag}`);
      }
    }
    expect(missing).toEqual([]);
  });

  test("the exit codes are those of the catalogue", () => {
    const codes = rowsAfter("README.md", "| exit code | means |").map(([code]) => Number(code));
    expect(codes).toEqual([...new Set([0, ...Object.values(CATALOGUE).map(({ exit }) => exit)])].sort((a, b) => a - b));
  });
});

function find(path: readonly string[]): Verb {
  const [name, ...rest] = path;
  let verb = VERBS.find((candidate) => candidate.name === name)!;
  for (const word of rest) verb = verb.verbs!.find((candidate) => candidate.name === word)!;
  return verb;
}

/** The verb that a line of the reference names. */
function leafOf(line: string): string {
  let verbs: readonly Verb[] = VERBS;
  const path: string[] = [];
  for (const word of wordsOf(line)) {
    const next = verbs.find(({ name }) => name === word);
    if (next === undefined) break;
    path.push(word);
    verbs = next.verbs ?? [];
  }
  return path.join(" ");
}

/** The cells of a table's rows, by its heading line. */
function rowsAfter(name: string, heading: string): string[][] {
  const lines = documentOf(name).split("\n");
  const start = lines.findIndex((line) => line.startsWith(heading));
  expect(start, `${name} has the table "${heading}"`).toBeGreaterThan(-1);
  const rest = lines.slice(start + 2);
  const length = rest.findIndex((line) => !line.startsWith("|"));
  return rest.slice(0, length).map((row) =>
    row
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

const plain = (cell: string | undefined) => (cell ?? "").replace(/^`|`$/g, "");

describe("the configuration reference", () => {
  const rows = rowsAfter("README.md", "| key | default | what it is |").map(
    ([key, fallback]) => [plain(key), plain(fallback)] as const,
  );

  test("has every key of the schema, and no other", () => {
    const paths = allKeyPaths();
    const keys = paths.filter((path) => !paths.some((other) => other.startsWith(`${path}.`)));
    expect(rows.map(([key]) => key).sort()).toEqual([...keys].sort());
  });

  test("tells the defaults that hold", () => {
    const legacy = { preset: "connect-pg-simple", url: "postgres://localhost/x" };
    const parsed = configSchema.parse({ migration: "m", legacy, redis: { url: "redis://localhost" } });
    for (const [key, told] of rows) {
      if (told === "required" || told.startsWith("the preset's") || key === "control.url") continue;
      const holds = key.split(".").reduce<unknown>((at, part) => (at as Record<string, unknown>)[part], parsed);
      expect(valueTold(told, holds), key).toEqual(holds);
    }
    for (const key of ["migration", "legacy.preset", "legacy.url", "redis.url"]) {
      expect(rows.find(([name]) => name === key)?.[1]).toBe("required");
    }
  });
});

function valueTold(told: string, like: unknown): unknown {
  if (typeof like === "number") return parseDuration(told);
  return typeof like === "string" ? told : JSON.parse(told);
}

describe("the phases and gates", () => {
  test("are told in the README, each once and in their order", () => {
    const rows = rowsAfter("README.md", "| phase | writes |").map(([name]) => plain(name));
    expect(rows).toEqual([...PHASE_NAMES]);
    const gates = rowsAfter("README.md", "| gate | asks |").map(([name]) => plain(name));
    expect([...gates].sort()).toEqual([...new Set(PHASE_NAMES.flatMap((name) => gatesOf(name, "up")))].sort());
  });
});

describe("the error codes of the runbook", () => {
  const rows = rowsAfter("RUNBOOK.md", "| code | exit |");

  test("are those of the catalogue, each with its exit code and whether a repetition may help", () => {
    const told = rows.map(([code, exit, again]) => [plain(code), Number(exit), again === "yes"]);
    const known = Object.entries(CATALOGUE).map(([code, { exit, retryable }]) => [code, exit, retryable]);
    const byCode = (a: unknown[], b: unknown[]) => String(a[0]).localeCompare(String(b[0]));
    expect([...told].sort(byCode)).toEqual([...known].sort(byCode));
  });

  test("are known wherever a document names one", () => {
    const named = DOCUMENTS.flatMap((name) => spansOf(documentOf(name))).filter(({ code }) =>
      /^[A-Z]+(_[A-Z]+)+$/.test(code),
    );
    const known = new Set([...Object.keys(CATALOGUE), "PROPERTY_RUNS"]);
    expect(
      named.map(({ code }) => code).filter((code) => !known.has(code) && !code.startsWith("SESSIONFERRY_")),
    ).toEqual([]);
  });
});

describe("links and files", () => {
  test("lead to headings and files that are there", () => {
    const files = new Set([...readdirSync(".", { recursive: false }), "scripts/rollback-on-alarm.sh"].map(String));
    const broken = DOCUMENTS.flatMap((name) => {
      const links = [...documentOf(name).matchAll(/\]\(([^)\s]+)\)/g)].map((match) => match[1] ?? "");
      return links
        .filter((link) => !/^https?:/.test(link))
        .filter((link) => {
          const [file = "", anchor] = link.split("#");
          if (file !== "" && !files.has(file)) return true;
          return anchor !== undefined && !anchorsOf(file === "" ? name : file).has(anchor);
        })
        .map((link) => `${name}: ${link}`);
    });
    expect(broken).toEqual([]);
  });
});

function anchorsOf(name: string): Set<string> {
  const headings = [...documentOf(name).matchAll(/^#{1,6}\s+(.*?)\s*$/gm)].map((match) => match[1] ?? "");
  return new Set(
    headings.map((text) =>
      text
        .toLowerCase()
        .replace(/[^\w\- ]/g, "")
        .replaceAll(" ", "-"),
    ),
  );
}
