/** memcached's clients in other languages, with which the door is tested: found, or installed from Debian's packages. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { findProgram, findSystemProgram } from "./find.js";
import { installPackages } from "./install.js";

interface Client {
  /** Debian's and Ubuntu's. */
  readonly packages: readonly string[];
  readonly program: string;
  /** Prints the version, and fails where a module is not there. */
  readonly probe: readonly string[];
  /** What the program finds the client by, where it does not look for it by itself. */
  readonly library?: string;
  /** With its packages come hundreds of megabytes: installed only where that is asked for. */
  readonly heavy?: true;
}

const SPYMEMCACHED = "/usr/share/java/spymemcached.jar";
const GOMEMCACHE = "/usr/share/gocode/src/github.com/bradfitz/gomemcache/memcache";

const CLIENTS = {
  php: {
    packages: ["php-cli", "php-memcached"],
    program: "php",
    probe: ["-r", 'extension_loaded("memcached") or exit(1); echo phpversion("memcached");'],
  },
  phpredis: {
    packages: ["php-cli", "php-redis"],
    program: "php",
    probe: ["-r", 'extension_loaded("redis") or exit(1); echo phpversion("redis");'],
  },
  pymemcache: {
    packages: ["python3", "python3-pymemcache"],
    program: "python3",
    probe: ["-c", "import pymemcache; print(pymemcache.__version__)"],
  },
  pylibmc: {
    packages: ["python3", "python3-pylibmc"],
    program: "python3",
    probe: ["-c", "import pylibmc; print(pylibmc.__version__)"],
  },
  dalli: { packages: ["ruby", "ruby-dalli"], program: "ruby", probe: ["-rdalli", "-e", "puts Dalli::VERSION"] },
  // The compiler as well: a program of one file is compiled when it is started.
  spymemcached: {
    packages: ["default-jdk-headless", "libspymemcached-java"],
    program: "java",
    probe: ["-version"],
    library: SPYMEMCACHED,
    heavy: true,
  },
  gomemcache: {
    packages: ["golang-go", "golang-github-bradfitz-gomemcache-dev"],
    program: "go",
    probe: ["version"],
    library: GOMEMCACHE,
    heavy: true,
  },
  nutcracker: { packages: ["nutcracker"], program: "nutcracker", probe: ["--version"] },
  memccapable: { packages: ["libmemcached-tools"], program: "memccapable", probe: ["-V"] },
} as const satisfies Record<string, Client>;

export type ClientName = keyof typeof CLIENTS;
const NAMES = Object.keys(CLIENTS) as readonly ClientName[];
const isHeavy = (name: ClientName): boolean => (CLIENTS[name] as Client).heavy === true;
export const CLIENT_NAMES = NAMES.filter((name) => !isHeavy(name));
export const HEAVY_CLIENT_NAMES = NAMES.filter(isHeavy);

export interface AvailableClient {
  readonly name: ClientName;
  readonly version: string;
  /** The full path of the program that runs it. */
  readonly program: string;
  /** What to tell the program so that it finds the client; absent where it does by itself. */
  readonly library?: string;
}

/** The client, or null where it is not on this machine. Asks the interpreter itself, which takes about 100 ms. */
export async function findClient(name: ClientName): Promise<AvailableClient | null> {
  const { program, probe, library }: Client = CLIENTS[name];
  if (library !== undefined && !existsSync(library)) return null;
  // A version manager's own interpreter, first on the PATH, knows nothing of the distribution's modules.
  const path = findSystemProgram(program) ?? findProgram(program);
  if (path === null) return null;
  const said = await ask(path, probe);
  if (said === null) return null;
  const version = /\d+(\.\d+)+/.exec(said)?.[0] ?? "of unknown version";
  return { name, version, program: path, ...(library !== undefined && { library }) };
}

/** Everything that a machine does for `ensureClients`; the tests put another one in its place. */
export interface ClientMachine {
  find(name: ClientName): Promise<AvailableClient | null>;
  install(packages: readonly string[], log: (line: string) => void): Promise<boolean>;
}

/**
 * Finds the clients, and installs those that are away if told to. None is needed: one that cannot be had is left out,
 * and the tests that would use it are skipped.
 */
export async function ensureClients(
  options: { readonly install: boolean; readonly heavy?: boolean; log(line: string): void },
  machine: ClientMachine = { find: findClient, install: installPackages },
): Promise<readonly AvailableClient[]> {
  const wanted = options.heavy ? [...CLIENT_NAMES, ...HEAVY_CLIENT_NAMES] : CLIENT_NAMES;
  let found = await findAll(machine, wanted);
  const away = wanted.filter((_, i) => found[i] === null);
  if (options.install && away.length > 0) {
    const packages = [...new Set(away.flatMap((name) => CLIENTS[name].packages))];
    if (!(await machine.install(packages, options.log))) {
      // A distribution that lacks one of them has the others.
      for (const name of away) await machine.install(CLIENTS[name].packages, options.log);
    }
    found = await findAll(machine, wanted);
  }
  for (const [i, name] of wanted.entries()) {
    const client = found[i];
    options.log(
      client ? `${name} ${client.version} (${client.program})` : `${name} is not here; its tests are skipped`,
    );
  }
  return found.filter((client) => client !== null);
}

function findAll(machine: ClientMachine, names: readonly ClientName[]): Promise<(AvailableClient | null)[]> {
  return Promise.all(names.map((name) => machine.find(name)));
}

/** What a program printed, or null when it failed. */
function ask(program: string, args: readonly string[]): Promise<string | null> {
  return new Promise((resolve) => {
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], timeout: 20_000 });
    let said = "";
    child.stdout.on("data", (chunk: Buffer) => (said += chunk));
    child.stderr.on("data", (chunk: Buffer) => (said += chunk));
    child.on("error", () => resolve(null));
    child.on("close", (code) => resolve(code === 0 ? said : null));
  });
}
