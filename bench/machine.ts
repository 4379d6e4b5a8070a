import { execFileSync } from "node:child_process";
import { cpus, loadavg, platform, release, totalmem } from "node:os";

/** What absolute figures must not be quoted without. */
export interface Machine {
  readonly processor: string;
  readonly cores: number;
  /** Bytes. */
  readonly memory: number;
  readonly system: string;
  readonly node: string;
  readonly servers: Readonly<Record<string, string>>;
  /** Processes that wanted a core in the minute before, on average: above zero, others were at work. */
  readonly loadBefore: number;
}

export function machine(): Machine {
  return {
    processor: cpus()[0]?.model.trim() ?? "unknown",
    cores: cpus().length,
    memory: totalmem(),
    system: `${platform()} ${release()}`,
    node: process.version,
    servers: {
      redis: firstLine("redis-server", "--version"),
      memcached: firstLine("memcached", "--version"),
      postgres: firstLine("psql", "--version"),
    },
    loadBefore: loadavg()[0]!,
  };
}

export function machineLine({ processor, cores, memory, node, servers, loadBefore }: Machine): string {
  const gigabytes = Math.round(memory / 1024 ** 3);
  const known = Object.values(servers).map((text) => text.split(" sha=")[0]);
  return `${processor}, ${cores} cores, ${gigabytes} GB, Node ${node}, ${known.join(", ")}; load before: ${loadBefore.toFixed(1)}`;
}

function firstLine(program: string, flag: string): string {
  try {
    return execFileSync(program, [flag], { encoding: "utf8" }).split("\n")[0]!.trim();
  } catch {
    return "unknown";
  }
}
