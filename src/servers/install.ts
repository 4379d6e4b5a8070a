/** Installing the missing servers from the packages of Debian or Ubuntu: only when asked to, and said before it is done. */
import { spawn, spawnSync } from "node:child_process";
import { findProgram } from "./find.js";
import { PACKAGES } from "./missing.js";
import type { ServerName } from "./server.js";

/** The command that gives us root's rights: nothing for root itself, null where there is no way without a password. */
function asRoot(): readonly string[] | null {
  if (process.getuid?.() === 0) return [];
  const sudo = findProgram("sudo");
  if (sudo === null) return null;
  return spawnSync(sudo, ["-n", "true"], { stdio: "ignore" }).status === 0 ? [sudo, "-n"] : null;
}

/** Installs the packages of `names`; see `installPackages`. */
export function install(names: readonly ServerName[], log: (line: string) => void): Promise<boolean> {
  const packages = names.map((name) => PACKAGES[name]);
  return installPackages(packages, log);
}

/**
 * Installs packages with apt-get.
 * @returns false where that is impossible (no apt-get, no rights) or fails; apt-get's own words went to stderr.
 */
export async function installPackages(packages: readonly string[], log: (line: string) => void): Promise<boolean> {
  const aptGet = findProgram("apt-get");
  const prefix = asRoot();
  if (aptGet === null || prefix === null) return false;
  log(`Installing ${packages.join(", ")} with apt-get; Debian also starts servers as services, which we do not use.`);
  // Old or absent package lists are the usual cause of a failure; an update that fails may still have been enough.
  await aptly([...prefix, aptGet, "-q", "update"]);
  const options = ["-q", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120"];
  return aptly([...prefix, "env", "DEBIAN_FRONTEND=noninteractive", aptGet, "install", ...options, ...packages]);
}

/** stdout carries our own result, so what apt-get prints goes to stderr; it must never ask anything. */
function aptly([command, ...args]: readonly string[]): Promise<boolean> {
  return new Promise((resolve) => {
    const child = spawn(command as string, args, { stdio: ["ignore", process.stderr, process.stderr] });
    child.on("error", () => resolve(false));
    child.on("exit", (code) => resolve(code === 0));
  });
}
