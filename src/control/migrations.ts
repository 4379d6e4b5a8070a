import { readdirSync, readFileSync } from "node:fs";

export interface Migration {
  readonly number: number;
  readonly name: string;
  readonly sql: string;
}

/** The numbered SQL files of the package, in their order; the same folder seen from `src/control` and `dist/control`. */
export function loadMigrations(folder = new URL("../../migrations/", import.meta.url)): readonly Migration[] {
  return readdirSync(folder)
    .filter((name) => /^\d{3}_.*\.sql$/.test(name))
    .sort()
    .map((name) => ({ number: Number(name.slice(0, 3)), name, sql: readFileSync(new URL(name, folder), "utf8") }));
}
