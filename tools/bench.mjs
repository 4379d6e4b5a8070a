// Runs the bench (bench/) under plain Node, beside a copy of the built package: a build that comes while it runs must
// not change what is measured. `node tools/bench.mjs [--package FOLDER] ...` measures the build in another checkout.
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { transpileFolder } from "./transpile-folder.mjs";

const root = fileURLToPath(new URL("../", import.meta.url));
const args = process.argv.slice(2);
const at = args.indexOf("--package");
const [, measured = root] = at < 0 ? [] : args.splice(at, 2);
const folder = mkdtempSync(join(tmpdir(), "sessionferry-bench-"));
try {
  cpSync(join(resolve(measured), "dist"), join(folder, "src"), { recursive: true });
  for (const name of ["node_modules", "phases", "migrations", "package.json"]) {
    symlinkSync(join(root, name), join(folder, name));
  }
  transpileFolder(join(root, "bench"), join(folder, "bench"));
  cpSync(join(root, "bench/rivals/pipe.sh"), join(folder, "bench/rivals/pipe.sh"));
  const main = join(folder, "bench/main.js");
  const { status } = spawnSync(process.execPath, [main, "--out", join(root, "bench"), ...args], { stdio: "inherit" });
  process.exitCode = status ?? 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
