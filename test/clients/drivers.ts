import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { type AvailableClient, type ClientName, findClient } from "../../src/servers/index.js";

/**
 * Applications over real clients (drivers/): each writes, remembers what it wrote, and compares every answer with that,
 * until it is told to stop. They share a counter, a lock and what it guards.
 */
export interface DriverKind {
  readonly name: string;
  /** The client that must be on this machine; null for npm packages, which are. */
  readonly client: ClientName | null;
  readonly script: string;
  /** After host, port, prefix and the driver's own name. */
  readonly mode: string;
  /** What stands before the script, where the client's library must be told, and what is told by the environment. */
  readonly words?: (library: string) => readonly string[];
  readonly environment?: (library: string) => Readonly<Record<string, string>>;
}

export const DRIVERS: readonly DriverKind[] = [
  { name: "php sessions, binary", client: "php", script: "php-sessions.php", mode: "binary" },
  { name: "php sessions, text", client: "php", script: "php-sessions.php", mode: "text" },
  { name: "php class, text", client: "php", script: "php-class.php", mode: "text" },
  { name: "php class, binary", client: "php", script: "php-class.php", mode: "binary" },
  { name: "pymemcache", client: "pymemcache", script: "python.py", mode: "pymemcache" },
  { name: "pylibmc, text", client: "pylibmc", script: "python.py", mode: "pylibmc" },
  { name: "pylibmc, binary", client: "pylibmc", script: "python.py", mode: "pylibmc-binary" },
  { name: "dalli", client: "dalli", script: "dalli.rb", mode: "" },
  { name: "memcached of npm", client: null, script: "node.mjs", mode: "memcached" },
  { name: "memjs of npm", client: null, script: "node.mjs", mode: "memjs" },
];

/** Those whose packages are too heavy for every run of the tests: `npm run test:long`. */
export const HEAVY_DRIVERS: readonly DriverKind[] = [
  ...["text", "binary"].map((mode) => ({
    ...{ name: `spymemcached, ${mode}`, client: "spymemcached" as const, script: "Spymemcached.java", mode },
    words: (library: string) => ["-Xmx128m", "-cp", library],
  })),
  {
    ...{ name: "gomemcache", client: "gomemcache", script: "gomemcache.go", mode: "" },
    words: () => ["run"],
    // Debian keeps sources as they were laid out before there were modules.
    environment: (library) => ({ GO111MODULE: "off", GOPATH: library.slice(0, library.indexOf("/src/")) }),
  },
];

/** Whether a driver speaks of sessions alone: PHP's handler knows neither counters nor locks of its own. */
export const isSessions = ({ script }: DriverKind): boolean => script === "php-sessions.php";

const summarySchema = z.strictObject({
  client: z.string(),
  operations: z.number(),
  failures: z.number(),
  first: z.string().nullable(),
  /** How often it counted the shared counter up, and changed what the shared lock guards. */
  incremented: z.number(),
  guarded: z.number(),
  /** What it holds at its end. */
  loggedIn: z.number(),
});
export type Summary = z.infer<typeof summarySchema>;

export interface Place {
  readonly host: string;
  readonly port: number;
}

/** For clients that are packages of npm. */
export const OURSELVES = { program: process.execPath };

/** The clients that are here. Those that are not are named on the terminal: their tests are skipped. */
export async function clientsHere(drivers = DRIVERS): Promise<ReadonlyMap<ClientName, AvailableClient>> {
  const wanted = [...new Set(drivers.flatMap(({ client }) => (client === null ? [] : [client])))];
  const found = await Promise.all(wanted.map(async (name) => [name, await findClient(name)] as const));
  for (const [name, client] of found) {
    if (client === null)
      process.stderr.write(`SKIPPED: ${name} is not on this machine (servers --install --clients)\n`);
  }
  return new Map(found.flatMap(([name, client]) => (client === null ? [] : [[name, client] as const])));
}

/** A driver's process; it ends when its stdin does, so it never outlives the test. */
export class Driver {
  #stdout = "";
  #stderr = "";
  readonly #ended: Promise<number | null>;
  /** Resolves after its first twenty operations, or at its end. */
  readonly going: Promise<void>;

  private constructor(
    readonly kind: DriverKind,
    readonly child: ChildProcess,
  ) {
    this.going = new Promise((resolve) => {
      child.stdout?.on("data", (chunk: Buffer) => {
        this.#stdout += chunk;
        if (this.#stdout.includes("going\n")) resolve();
      });
      child.once("close", () => resolve());
    });
    child.stderr?.on("data", (chunk: Buffer) => {
      this.#stderr += chunk;
    });
    this.#ended = new Promise((resolve) => child.once("close", resolve));
  }

  /** @param file where a session driver leaves what is logged in at its end. */
  static start(
    kind: DriverKind,
    { program, library = "" }: Pick<AvailableClient, "program" | "library">,
    place: Place,
    prefix: string,
    name: string,
    file?: string,
  ): Driver {
    const script = fileURLToPath(new URL(`drivers/${kind.script}`, import.meta.url));
    const before = kind.words?.(library) ?? [];
    const words = [...before, script, place.host, String(place.port), prefix, name, kind.mode, file ?? ""];
    const child = spawn(
      program,
      words.filter((word) => word !== ""),
      { stdio: ["pipe", "pipe", "pipe"], env: { ...process.env, ...kind.environment?.(library) } },
    );
    // It may have ended by itself.
    child.stdin.on("error", () => {});
    return new Driver(kind, child);
  }

  async stop(): Promise<Summary> {
    this.child.stdin?.end();
    const late = setTimeout(() => this.child.kill("SIGKILL"), 30_000);
    const code = await this.#ended;
    clearTimeout(late);
    if (code !== 0) throw new Error(`${this.kind.name} ended with ${code}: ${this.#stderr.slice(-2_000)}`);
    return summarySchema.parse(JSON.parse(this.#stdout.trim().split("\n").at(-1) ?? ""));
  }
}
