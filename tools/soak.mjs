// Runs the soak test (test/soak) under plain Node: its sources beside the built package, in a folder of their own.
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { transpileFolder } from "./transpile-folder.mjs";

const root = fileURLToPath(new URL("../", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "sessionferry-soak-"));
try {
  // A copy: whoever builds the package anew while the soak runs must not change what its next process runs.
  cpSync(join(root, "dist"), join(folder, "src"), { recursive: true });
  cpSync(join(root, "package.json"), join(folder, "package.json"));
  for (const name of ["node_modules", "phases", "migrations"]) symlinkSync(join(root, name), join(folder, name));
  for (const part of ["support", "integration", "soak"]) {
    transpileFolder(join(root, "test", part), join(folder, "test", part));
  }
  const main = join(folder, "test/soak/main.js");
  const { status } = spawnSync(process.execPath, [main, ...process.argv.slice(2)], { stdio: "inherit" });
  process.exitCode = status ?? 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
