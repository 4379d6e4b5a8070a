import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { ID_LENGTH } from "../core/ids.js";

const NAMES = [
  "read",
  "open",
  "open-if",
  "gets",
  "close",
  "fill",
  "mark",
  "undirty",
  "reconcile",
  "push",
  "view",
  "alone",
  "reseal",
] as const;
export type ScriptName = (typeof NAMES)[number];

export interface Script {
  readonly text: string;
  /** What EVALSHA calls it by. */
  readonly sha: string;
}

export type Scripts = Readonly<Record<ScriptName, Script>>;

/** Those that run memcached's verbs. */
const WITH_VERBS: ReadonlySet<ScriptName> = new Set(["open-if", "gets", "alone"]);

const sets = new Map<string, Scripts>();

/**
 * The scripts, read from beside this module when they are first wanted.
 *
 * @param exactExpiry whether the server has PEXPIRETIME (Redis 7.0 and later).
 * @param items whether flags and tokens are kept.
 * @param servers of a pool whose client's rule is not known; 0 where there is none.
 * @param cluster whether the server is a master of a Redis Cluster.
 */
export function scriptsFor(exactExpiry: boolean, items: boolean, servers = 0, cluster = false): Scripts {
  const name = `${exactExpiry} ${items} ${servers} ${cluster}`;
  let scripts = sets.get(name);
  if (scripts === undefined) {
    scripts = loadScripts(exactExpiry, items, servers, cluster);
    sets.set(name, scripts);
  }
  return scripts;
}

function loadScripts(exactExpiry: boolean, items: boolean, servers: number, cluster: boolean): Scripts {
  const values = { ID_LENGTH, ITEMS: items, SERVERS: servers, CLUSTER: cluster };
  const constants = Object.entries(values)
    .map(([name, value]) => `local ${name} = ${value}\n`)
    .join("");
  const common = `${constants}${textOf("common")}${exactExpiry ? "" : textOf("common-6.2")}`;
  const verbs = common + textOf("verbs");
  const load = (name: ScriptName): Script => {
    const before = name === "reseal" ? "" : WITH_VERBS.has(name) ? verbs : common;
    const text = before + textOf(name);
    return { text, sha: createHash("sha1").update(text).digest("hex") };
  };
  return Object.fromEntries(NAMES.map((name) => [name, load(name)])) as Record<ScriptName, Script>;
}

function textOf(file: string): string {
  return readFileSync(new URL(`./${file}.lua`, import.meta.url), "utf8");
}
