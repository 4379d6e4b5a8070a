import { cpSync, mkdtempSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { transpile } from "./transpile.js";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/**
 * A folder that looks like the built package to the modules in it (`src/` beside `node_modules/` and `phases/`), so
 * that a test can start, signal and kill processes that run any part of it.
 */
export function transpiledPackage(): { readonly path: string; remove(): void } {
  const sources = transpile(["."]);
  const path = mkdtempSync(join(tmpdir(), "sessionferry-package-"));
  renameSync(sources, join(path, "src"));
  // The Lua of the scripts is read from beside the modules.
  cpSync(join(ROOT, "src/scripts"), join(path, "src/scripts"), { recursive: true });
  cpSync(join(ROOT, "package.json"), join(path, "package.json"));
  for (const name of ["node_modules", "phases", "migrations"]) {
    symlinkSync(join(ROOT, name), join(path, name));
  }
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}
