import type { AddressInfo } from "node:net";
import { connect, createServer } from "node:net";
import { IdSource, newNodeId } from "../../src/core/ids.js";
import { openDoor } from "../../src/doors/memcached/server.js";
import type { FerryContext } from "../../src/ferry/context.js";
import { Deadlines } from "../../src/ferry/deadlines.js";
import { FerryItems } from "../../src/ferry/items.js";
import { Routing } from "../../src/ferry/routing.js";
import { Metrics } from "../../src/observe/metrics.js";
import { loadPhases } from "../../src/phases.js";
import type { Relayed } from "../../src/ports/relay.js";
import { phpMemcached } from "../../src/presets/php-memcached.js";
import { openMemcachedLegacy } from "../../src/stores/memcached/store.js";

/** One of the proxies that are compared, in a process of its own: tells its port, and serves until it is killed. */
process.on("SIGTERM", () => process.exit());
const [role, upstream] = process.argv.slice(2);

if (role === "pipe") {
  const server = createServer({ noDelay: true }, (client) => {
    const memcached = connect({ port: Number(upstream), host: "127.0.0.1", noDelay: true });
    client.pipe(memcached);
    memcached.pipe(client);
    client.on("error", () => {});
    memcached.on("error", () => {});
  });
  server.listen(0, "127.0.0.1", () => process.send!((server.address() as AddressInfo).port));
} else {
  const metrics = new Metrics();
  const legacy = openMemcachedLegacy({
    url: `memcached://127.0.0.1:${upstream}`,
    preset: phpMemcached,
    connections: 4,
    deadline: 5_000,
    items: true,
  });
  const clock = {
    now: () => Date.now(),
    elapsed: () => performance.now(),
    sleep: (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms).unref()),
  };
  // The ferry as a node in legacy has it, without what only other phases need.
  const routing = new Routing(loadPhases(), {
    migration: "bench",
    revision: 1,
    position: { phase: "legacy", percent: 100 },
    pending: null,
    generation: "",
    interrupted: false,
  } as never);
  const ctx = {
    legacy,
    routing,
    ids: new IdSource(newNodeId()),
    clock,
    observer: metrics,
    limits: { redis: 50, request: 5_000 },
  } as unknown as FerryContext;
  const deadlines = new Deadlines(clock, 5_000);
  const items = new FerryItems(ctx, legacy.verbs(), (verb, perform) => request(verb, perform));
  const request = async <T>(verb: "get" | "set" | "touch" | "destroy", perform: () => Promise<T>): Promise<T> => {
    const started = performance.now();
    try {
      return await deadlines.within(perform());
    } finally {
      metrics.event({ type: "operation", verb, milliseconds: performance.now() - started, result: "ok" });
    }
  };
  const prefix = phpMemcached.prefix;
  /** As the node has it while all is in legacy. */
  const relay = {
    get open() {
      return routing.record.position.phase === "legacy" && routing.record.pending === null;
    },
    begin() {
      return this.open ? routing.enter() : null;
    },
    count(relayed: Relayed) {
      metrics.event({ type: "relayed", ...relayed });
    },
    async connect() {
      const socket = connect({ port: Number(upstream), host: "127.0.0.1", noDelay: true });
      await new Promise((resolve) => socket.once("connect", () => resolve(null)));
      return { socket, settled: async () => {} };
    },
  };
  const door = await openDoor({
    items,
    bypass: legacy.bypass(),
    keyspace: (key) => (key.startsWith(prefix) ? key.slice(prefix.length) : null),
    listeners: [{ listen: "127.0.0.1:0" }],
    relay: role === "door" ? relay : null,
    hooks: { event: (event) => "error" in event && console.error(event) },
  });
  process.send!(Number(door.addresses[0]!.split(":").at(-1)));
}
