import { readFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import {
  cycleIn,
  environmentReads,
  type Import,
  importsOf,
  reachable,
  readSources,
  type Sources,
} from "./support/imports.js";

/** Parts that may import each other are one group. A path that ends in a slash stands for all below it. */
const GROUPS = {
  errors: ["src/errors.ts"],
  core: ["src/core/"],
  ports: ["src/ports/"],
  backends: ["src/stores/", "src/control/", "src/scripts/"],
  engine: ["src/ferry/", "src/jobs/", "src/workflow/"],
  edges: ["src/doors/", "src/presets/", "src/observe/"],
  // What is read from files: the configuration, and the phases of the package.
  config: ["src/config.ts", "src/config/", "src/phases.ts"],
  runtime: ["src/runtime.ts", "src/runtime/"],
  library: ["src/index.ts"],
  servers: ["src/servers/"],
  demo: ["src/demo/"],
  cli: ["src/cli/"],
} as const satisfies Record<string, readonly string[]>;
type Group = keyof typeof GROUPS;

/** The arrows of DESIGN.md: which groups each group may import, besides itself; type imports count. */
const MAY_IMPORT: Record<Group, readonly Group[]> = {
  errors: [],
  core: ["errors"],
  ports: ["errors", "core"],
  backends: ["errors", "core", "ports"],
  engine: ["errors", "core", "ports"],
  edges: ["errors", "core", "ports"],
  config: ["errors", "core", "ports"],
  runtime: ["errors", "core", "ports", "config", "backends", "engine", "edges"],
  library: ["errors", "core", "ports", "config", "edges", "runtime"],
  servers: ["errors"],
  // The demo is a user of the library, as a team's application is; it runs the CLI as a command.
  demo: ["errors", "core", "config", "library", "edges", "servers"],
  cli: ["errors", "core", "ports", "config", "runtime", "backends", "engine", "edges", "servers", "demo"],
};

/** Packages that only some parts may import, in any way. */
const ONLY_IN: readonly { packages: readonly string[]; parts: readonly string[]; why: string }[] = [
  {
    packages: ["ioredis", "pg", "pg-cursor", "mysql2", "redis", "memcached", "memjs", "bullmq"],
    // The demo's proof is read by plain clients on purpose: they share no code with what is proven.
    parts: ["src/stores/", "src/control/", "src/demo/"],
    why: "drivers are reached through ports",
  },
  { packages: ["yargs"], parts: ["src/cli/"], why: "the command line is no business of the library" },
  {
    packages: ["yaml"],
    parts: ["src/config.ts", "src/config/", "src/cli/"],
    why: "files are read by the configuration",
  },
  { packages: ["testcontainers"], parts: ["src/servers/docker.ts"], why: "it is no dependency of the package" },
];

const READS_ENVIRONMENT = ["src/config.ts", "src/servers/"];

/** What an application loads with a door must stay light. */
const LIBRARY_DOORS = ["src/index.ts", "src/doors/express.ts"];
const NEVER_IN_A_DOOR = ["yargs", "src/cli/", "src/servers/", "src/demo/"];
const LOADED_ON_DEMAND = ["pg", "ioredis"];

const isIn = (path: string, parts: readonly string[]) =>
  parts.some((part) => path === part || (part.endsWith("/") && path.startsWith(part)));
const groupOf = (path: string) => (Object.keys(GROUPS) as Group[]).find((group) => isIn(path, GROUPS[group]));
const at = ({ from, line }: { from: string; line: number }) => `${from}:${line}`;

const RULES: Readonly<Record<string, (sources: Sources, imports: readonly Import[]) => string[]>> = {
  "every file belongs to a group": (sources) =>
    [...sources.keys()].filter((path) => groupOf(path) === undefined).map((path) => `${path} is in no group`),

  "every relative import leads to a source file": (sources, imports) =>
    imports
      .filter(({ to }) => to.includes("/") && !to.startsWith("@") && !to.startsWith("node:") && !sources.has(to))
      .map((edge) => `${at(edge)} imports ${edge.to}, which does not exist`),

  "arrows between groups point one way": (_, imports) =>
    imports.flatMap((edge) => {
      const [from, to] = [groupOf(edge.from), groupOf(edge.to)];
      if (from === undefined || to === undefined || from === to || MAY_IMPORT[from].includes(to)) return [];
      return [`${at(edge)} imports ${edge.to}: ${from} may not import ${to}`];
    }),

  "there are no cycles": (_, imports) => {
    const cycle = cycleIn(imports);
    return cycle === null ? [] : [cycle.join(" -> ")];
  },

  "some packages are only for some parts": (_, imports) =>
    imports.flatMap((edge) =>
      ONLY_IN.filter(({ packages, parts }) => packages.includes(edge.to) && !isIn(edge.from, parts)).map(
        ({ why }) => `${at(edge)} imports ${edge.to}: ${why}`,
      ),
    ),

  "what the package loads is among its dependencies": (sources, imports) =>
    imports
      .filter(({ from, to, kind }) => {
        const ours = sources.has(to) || to.startsWith("src/") || to.startsWith("node:");
        // Types are erased, testcontainers is tried and done without, the demo brings its own applications.
        return !ours && kind !== "type" && to !== "testcontainers" && !from.startsWith("src/demo/");
      })
      // What is optional may be away, and an import at the top of a module could not do without it.
      .filter(({ to, kind }) => !dependencies.has(to) && !(kind === "dynamic" && optional.has(to)))
      .map((edge) => `${at(edge)} imports ${edge.to}, which is no dependency`),

  "modules of Node are named as such": (_, imports) =>
    imports
      .filter(({ to }) => builtinModules.includes(to))
      .map((edge) => `${at(edge)} imports ${edge.to} without node:`),

  "only the configuration reads the environment": (sources) =>
    environmentReads(sources)
      .filter(({ from }) => !isIn(from, READS_ENVIRONMENT))
      .map((read) => `${at(read)} reads process.env`),

  "a library door loads neither the command line nor a helper of it": (_, imports) =>
    LIBRARY_DOORS.flatMap((door) =>
      [...reachable(imports, door, ["value", "dynamic"])]
        .filter(([path]) => isIn(path, NEVER_IN_A_DOOR))
        .map(([, chain]) => chain.join(" -> ")),
    ),

  "a library door loads a driver only when it is used": (_, imports) =>
    LIBRARY_DOORS.flatMap((door) =>
      [...reachable(imports, door, ["value"])]
        .filter(([path]) => LOADED_ON_DEMAND.includes(path))
        .map(([, chain]) => chain.join(" -> ")),
    ),
};

const root = fileURLToPath(new URL("../", import.meta.url));
const manifest = JSON.parse(readFileSync(`${root}package.json`, "utf8")) as {
  dependencies: Record<string, string>;
  peerDependencies?: Record<string, string>;
};
const dependencies = new Set(Object.keys(manifest.dependencies));
const optional = new Set(Object.keys(manifest.peerDependencies ?? {}));

describe("the source tree", () => {
  const sources = readSources(root, "src");
  const imports = importsOf(sources);

  test("is read at all", () => {
    expect(sources.size).toBeGreaterThan(20);
    expect(imports.length).toBeGreaterThan(sources.size);
  });

  test.each(Object.entries(RULES))("%s", (_, violations) => {
    expect(violations(sources, imports)).toEqual([]);
  });
});

/** Each rule is shown to bite: small trees that break it, and what it must say. */
const SEEDED: readonly { rule: string; files: Record<string, string>; says: string }[] = [
  {
    rule: "every file belongs to a group",
    files: { "src/utils/bag.ts": "" },
    says: "src/utils/bag.ts is in no group",
  },
  {
    rule: "every relative import leads to a source file",
    files: { "src/core/a.ts": 'import "./gone.js";' },
    says: "src/core/a.ts:1 imports src/core/gone.ts, which does not exist",
  },
  {
    rule: "arrows between groups point one way",
    files: { "src/core/a.ts": '\nimport type { B } from "../ports/b.js";', "src/ports/b.ts": "" },
    says: "src/core/a.ts:2 imports src/ports/b.ts: core may not import ports",
  },
  {
    rule: "arrows between groups point one way",
    files: { "src/ferry/a.ts": 'let a: import("../stores/b.js").B;', "src/stores/b.ts": "" },
    says: "src/ferry/a.ts:1 imports src/stores/b.ts: engine may not import backends",
  },
  {
    rule: "arrows between groups point one way",
    files: { "src/doors/a.ts": 'export * from "../ferry/b.js";', "src/ferry/b.ts": "" },
    says: "src/doors/a.ts:1 imports src/ferry/b.ts: edges may not import engine",
  },
  {
    rule: "there are no cycles",
    files: {
      "src/core/a.ts": 'import type { B } from "./b.js";',
      "src/core/b.ts": 'export { c } from "./c.js";',
      "src/core/c.ts": 'const a = await import("./a.js");',
    },
    says: "src/core/a.ts -> src/core/b.ts -> src/core/c.ts -> src/core/a.ts",
  },
  {
    rule: "some packages are only for some parts",
    files: { "src/jobs/a.ts": 'import type { Pool } from "pg";' },
    says: "src/jobs/a.ts:1 imports pg: drivers are reached through ports",
  },
  {
    rule: "some packages are only for some parts",
    files: { "src/runtime.ts": 'const yargs = await import("yargs/helpers");' },
    says: "src/runtime.ts:1 imports yargs: the command line is no business of the library",
  },
  {
    rule: "what the package loads is among its dependencies",
    files: { "src/stores/a.ts": 'import { S } from "@scope/undeclared/deep.js";' },
    says: "src/stores/a.ts:1 imports @scope/undeclared, which is no dependency",
  },
  {
    rule: "what the package loads is among its dependencies",
    files: { "src/stores/a.ts": 'import memjs from "memjs"; const later = () => import("memjs");' },
    says: "src/stores/a.ts:1 imports memjs, which is no dependency",
  },
  {
    rule: "modules of Node are named as such",
    files: { "src/core/a.ts": 'import fs from "fs";' },
    says: "src/core/a.ts:1 imports fs without node:",
  },
  ...["process.env.HOME", 'process["env"]', "const { env } = process", 'import { env } from "node:process"'].map(
    (code) => ({
      rule: "only the configuration reads the environment",
      files: { "src/stores/a.ts": code },
      says: "src/stores/a.ts:1 reads process.env",
    }),
  ),
  {
    rule: "a library door loads neither the command line nor a helper of it",
    files: {
      "src/index.ts": 'export * from "./runtime.js";',
      "src/runtime.ts": 'import("./demo/a.js")',
      "src/demo/a.ts": "",
    },
    says: "src/index.ts -> src/runtime.ts -> src/demo/a.ts",
  },
  {
    rule: "a library door loads a driver only when it is used",
    files: {
      "src/doors/express.ts": 'import { open } from "../stores/a.js";',
      "src/stores/a.ts": 'import { type Pool } from "pg";',
    },
    says: "src/doors/express.ts -> src/stores/a.ts -> pg",
  },
];

describe("the rules", () => {
  test.each(SEEDED)("$rule: $says", ({ rule, files, says }) => {
    const sources: Sources = new Map(Object.entries(files));
    expect(RULES[rule]?.(sources, importsOf(sources))).toEqual([says]);
  });

  test("each has a tree that breaks it", () => {
    expect(new Set(SEEDED.map(({ rule }) => rule))).toEqual(new Set(Object.keys(RULES)));
  });

  test("what is allowed passes all of them", () => {
    const sources: Sources = new Map([
      ["src/index.ts", 'import { readFile } from "node:fs/promises"; export { open } from "./runtime.js";'],
      ["src/runtime.ts", 'const open = () => import("./stores/a.js");'],
      ["src/stores/a.ts", 'import pg from "pg"; import type { P } from "../ports/p.js";'],
      ["src/ports/p.ts", 'export type { C } from "../core/c.js"; // process.env'],
      ["src/core/c.ts", "const text = \"import('pg')\";"],
      ["src/config.ts", "const home = process.env.HOME;"],
    ]);
    for (const violations of Object.values(RULES)) expect(violations(sources, importsOf(sources))).toEqual([]);
  });
});
