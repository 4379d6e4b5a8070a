import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { ID_LENGTH } from "../core/ids.js";

const NAMES = [
  "read",
  "open",
  "open-if",
  "close",
  "fill",
  "mark",
  "undirty",
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

const sets = new Map<boolean, Scripts>();

/**
 * The scripts, read from beside this module when they are first wanted.
 *
 * @param exactExpiry whether the server has PEXPIRETIME (Redis 7.0 and later).
 */
export function scriptsFor(exactExpiry: boolean): Scripts {
  let scripts = sets.get(exactExpiry);
  if (scripts === undefined) {
    scripts = loadScripts(exactExpiry);
    sets.set(exactExpiry, scripts);
  }
  return scripts;
}

function loadScripts(exactExpiry: boolean): Scripts {
  const common = `local ID_LENGTH = ${ID_LENGTH}\n${textOf("common")}${exactExpiry ? "" : textOf("common-6.2")}`;
  const load = (name: ScriptName): Script => {
    const text = name === "reseal" ? textOf(name) : common + textOf(name);
    return { text, sha: createHash("sha1").update(text).digest("hex") };
  };
  return Object.fromEntries(NAMES.map((name) => [name, load(name)])) as Record<ScriptName, Script>;
}

function textOf(file: string): string {
  return readFileSync(new URL(`./${file}.lua`, import.meta.url), "utf8");
}
