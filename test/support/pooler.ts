import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { chownSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { unprivileged } from "../../src/servers/account.js";
import type { RunningServer } from "../../src/servers/index.js";
import { freePort } from "../../src/servers/ports.js";

export interface Pooler {
  readonly url: string;
  stop(): Promise<void>;
}

/** How many connections to the server all clients share. */
const SHARED = 3;

/** A pooler in transaction mode: PgBouncer where it is installed, else a stand-in that shuffles as it does. */
export async function startPooler(server: RunningServer): Promise<Pooler> {
  const found = spawnSync("pgbouncer", ["--version"], { stdio: "ignore" }).error === undefined;
  return found ? startPgBouncer(server) : startStandIn(server);
}

async function startPgBouncer(server: RunningServer): Promise<Pooler> {
  const folder = mkdtempSync(join(tmpdir(), "pooler-"));
  const account = unprivileged();
  const port = await freePort();
  const file = join(folder, "pgbouncer.ini");
  writeFileSync(
    file,
    `[databases]\npostgres = host=127.0.0.1 port=${server.port} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n` +
      `listen_port = ${port}\nauth_type = any\npool_mode = transaction\ndefault_pool_size = ${SHARED}\nunix_socket_dir =\n` +
      "server_round_robin = 1\n",
  );
  if (account !== null) for (const path of [folder, file]) chownSync(path, account.uid, account.gid);
  const child: ChildProcess = spawn("pgbouncer", ["-q", file], { stdio: "ignore", cwd: folder, ...account });
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
  for (let attempt = 0; ; attempt++) {
    const client = new pg.Client(url);
    client.on("error", () => {});
    const error = await client.connect().then(
      () => null,
      (failure: unknown) => failure,
    );
    await client.end().catch(() => {});
    if (error === null) break;
    if (attempt === 100 || child.exitCode !== null) throw error;
    await delay(50);
  }
  return {
    url,
    async stop() {
      child.kill("SIGKILL");
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Bytes of one protocol message: a letter, a length that counts itself, a body. */
function message(type: string, body: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.write(type, 0, "latin1");
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}

/** Splits what it is fed into whole messages. */
function messages(take: (type: string, whole: Buffer) => void): (chunk: Buffer) => void {
  let rest = Buffer.alloc(0);
  return (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 5 && rest.length >= 1 + rest.readInt32BE(1)) {
      const whole = rest.subarray(0, 1 + rest.readInt32BE(1));
      rest = rest.subarray(whole.length);
      take(String.fromCharCode(whole[0]!), whole);
    }
  };
}

/** One connection to the server; runs what a client sent up to its next Sync, and says when the server is ready again. */
class Backend {
  #done: (() => void) | null = null;
  #client: Socket | null = null;
  readonly socket: Socket;
  readonly ready: Promise<void>;

  constructor(port: number) {
    this.socket = connect({ port, host: "127.0.0.1", noDelay: true });
    this.socket.on("error", () => {});
    this.ready = new Promise((resolve) => {
      this.#done = resolve;
    });
    const take = messages((type, whole) => {
      this.#client?.write(whole);
      if (type !== "Z") return;
      this.#done?.();
    });
    this.socket.on("data", take);
    this.socket.on("close", () => {
      this.#client?.destroy();
      this.#done?.();
    });
    const body = Buffer.from("\0\u0003\0\0user\0postgres\0database\0postgres\0\0", "latin1");
    const length = Buffer.alloc(4);
    length.writeInt32BE(body.length + 4);
    this.socket.write(Buffer.concat([length, body]));
  }

  async run(unit: Buffer, client: Socket | null): Promise<void> {
    await this.ready;
    await new Promise<void>((resolve) => {
      this.#done = resolve;
      this.#client = client;
      this.socket.write(unit);
    });
    this.#client = null;
  }
}

/** Gives every transaction the backend that has rested longest, and greets clients with a process id of its own. */
async function startStandIn(server: RunningServer): Promise<Pooler> {
  const idle = Array.from({ length: SHARED }, () => new Backend(server.port));
  const all = [...idle];
  const waiting: ((backend: Backend) => void)[] = [];
  const clients = new Set<Socket>();
  const acquire = async () => {
    const backend = idle.shift() ?? (await new Promise<Backend>((resolve) => waiting.push(resolve)));
    if (!backend.socket.destroyed) return backend;
    const another = new Backend(server.port);
    all.push(another);
    return another;
  };
  const release = (backend: Backend) => {
    const next = waiting.shift();
    if (next === undefined) idle.push(backend);
    else next(backend);
  };

  const listener = createServer({ noDelay: true }, (client) => {
    clients.add(client);
    client.on("error", () => {});
    client.on("close", () => clients.delete(client));
    let name = "";
    let unit: Buffer[] = [];
    let queue = Promise.resolve();
    const take = messages((type, whole) => {
      if (type === "X") return void client.end();
      unit.push(whole);
      if (type !== "S" && type !== "Q") return;
      const bytes = Buffer.concat(unit);
      unit = [];
      queue = queue.then(async () => {
        if (client.destroyed) return;
        const backend = await acquire();
        await backend.run(message("Q", Buffer.from(`SET application_name = '${name}'\0`)), null);
        if (!client.destroyed) await backend.run(bytes, client);
        release(backend);
      });
    });
    client.once("data", (startup: Buffer) => {
      const words = startup.toString("utf8", 8).split("\0");
      name = words[words.indexOf("application_name") + 1] ?? "";
      const key = Buffer.alloc(8);
      key.writeInt32BE(1_000_000_000);
      client.write(
        Buffer.concat([
          message("R", Buffer.alloc(4)),
          message("S", Buffer.from("client_encoding\0UTF8\0")),
          message("K", key),
          message("Z", Buffer.from("I")),
        ]),
      );
      client.on("data", take);
    });
  });
  await Promise.all(all.map((backend) => backend.ready));
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  return {
    url: `postgres://postgres@127.0.0.1:${(listener.address() as AddressInfo).port}/postgres`,
    async stop() {
      for (const client of clients) client.destroy();
      for (const { socket } of all) socket.destroy();
      await new Promise((resolve) => listener.close(resolve));
    },
  };
}
