import { readFileSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { LineCounter, parseDocument } from "yaml";
import { FerryError } from "../errors.js";

const NAMES = ["sessionferry.yaml", "sessionferry.yml", "sessionferry.json"] as const;

function isFile(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false })?.isFile() === true;
  } catch (error) {
    throw unreadable(path, error);
  }
}

/** What a path names may be there all the same: in a folder that this user may not enter, for instance. */
function unreadable(path: string, error: unknown): FerryError {
  const code = (error as NodeJS.ErrnoException).code ?? "error";
  return new FerryError("CONFIG_NOT_FOUND", `${path} cannot be read (${code})`, {
    remedy: "Give this user the right to read the file, or name another one with --config.",
  });
}

/** The configuration file of the nearest folder, from `cwd` upward; null when there is none. */
function findUpward(cwd: string): string | null {
  for (let folder = resolve(cwd); ; folder = dirname(folder)) {
    const found = NAMES.filter((name) => isFile(join(folder, name)));
    if (found.length > 1) {
      throw new FerryError("CONFIG_INVALID", `${folder} holds ${found.join(" and ")}: which one counts is unclear`, {
        remedy: "Remove one of them, or name the right one with --config.",
      });
    }
    if (found[0] !== undefined) return join(folder, found[0]);
    if (dirname(folder) === folder) return null;
  }
}

/** The path of the file to load: the one named, else the nearest one upward. */
export function locateConfig(named: string | undefined, cwd: string): string {
  if (named !== undefined) {
    const path = resolve(cwd, named);
    if (!isFile(path)) throw new FerryError("CONFIG_NOT_FOUND", `there is no configuration file at ${path}`);
    return path;
  }
  const path = findUpward(cwd);
  if (path !== null) return path;
  throw new FerryError("CONFIG_NOT_FOUND", `no ${NAMES.join(", ")} in ${resolve(cwd)} or above it`);
}

/** The file's content as plain data. Messages tell lines, never the text itself, which may hold a password. */
export function readConfigFile(path: string): unknown {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw unreadable(path, error);
  }
  return path.endsWith(".json") ? parseJson(text, path) : parseYaml(text, path);
}

function parseYaml(text: string, path: string): unknown {
  const lines = new LineCounter();
  try {
    const document = parseDocument(text, { prettyErrors: false, lineCounter: lines, logLevel: "silent" });
    const first = document.errors[0];
    if (first === undefined) return document.toJS({ maxAliasCount: 100 }) ?? {};
    const { line, col } = lines.linePos(first.pos[0]);
    const kind = first.code.toLowerCase().replaceAll("_", " ");
    throw new FerryError("CONFIG_INVALID", `${path} is not valid YAML: ${kind} at line ${line}, column ${col}`);
  } catch (error) {
    if (error instanceof FerryError) throw error;
    throw new FerryError("CONFIG_INVALID", `${path} is not valid YAML`);
  }
}

function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const position = /position (\d+)/.exec((error as Error).message)?.[1];
    const where = position === undefined ? "" : ` (line ${text.slice(0, Number(position)).split("\n").length})`;
    throw new FerryError("CONFIG_INVALID", `${path} is not valid JSON${where}`);
  }
}
