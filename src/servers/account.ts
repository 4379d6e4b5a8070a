import { readFileSync } from "node:fs";

/** An unprivileged user; initdb and memcached refuse to run as root. */
export interface Account {
  readonly uid: number;
  readonly gid: number;
}

/** The user to run such a server as, or null when this process is unprivileged already. */
export function unprivileged(): Account | null {
  if (process.getuid?.() !== 0) return null;
  // initdb insists on a user that has a name, so the number alone would not do.
  const entries = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .map((line) => line.split(":"));
  const entry = entries.find(([name]) => name === "nobody") ?? entries.find(([name]) => name === "postgres");
  return { uid: Number(entry?.[2] ?? 65534), gid: Number(entry?.[3] ?? 65534) };
}
