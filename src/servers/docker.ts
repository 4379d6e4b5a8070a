/**
 * Servers from Docker, for machines that have an engine and nothing else. testcontainers is imported only when a server
 * was found nowhere on this machine: its own companion container removes ours when this process is gone.
 */
import { setTimeout as delay } from "node:timers/promises";
import { FerryError } from "../errors.js";
import type { Address } from "./ask.js";
import { freePort } from "./ports.js";
import type { RunningServer, ServerName } from "./server.js";

export const IMAGES: Readonly<Record<ServerName, { readonly image: string; readonly port: number }>> = {
  redis: { image: "redis:7", port: 6379 },
  memcached: { image: "memcached:1.6", port: 11211 },
  postgres: { image: "postgres:15", port: 5432 },
};

const READY_WITHIN_MS = 60_000;
const PORT_ATTEMPTS = 5;

export interface ContainerOptions {
  readonly command: readonly string[];
  readonly port?: number | undefined;
  url(where: Address): string;
  /** Asks whether the container's process 1 serves at `where`. */
  ready(where: Address): Promise<boolean>;
}

/** Whether testcontainers is installed and a Docker engine answers it. */
export async function dockerAnswers(): Promise<boolean> {
  try {
    const { getContainerRuntimeClient } = await import("testcontainers");
    await getContainerRuntimeClient();
    return true;
  } catch {
    return false;
  }
}

/** Runs a server in Docker, or answers null where there is none. */
export async function startContainer(name: ServerName, options: ContainerOptions): Promise<RunningServer | null> {
  if (!(await dockerAnswers())) return null;
  for (let attempt = 1; ; attempt += 1) {
    try {
      // The port on this machine is fixed, since the engine would draw another one at each restart.
      return await startOn(options.port ?? (await freePort()), name, options);
    } catch (cause) {
      if (options.port === undefined && attempt < PORT_ATTEMPTS && isTaken(cause)) continue;
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new FerryError("UNEXPECTED", `${IMAGES[name].image} could not be started in Docker: ${why}`, {
        cause,
        remedy: `Start it by hand to see why: docker run ${IMAGES[name].image}`,
      });
    }
  }
}

const isTaken = (error: unknown) => /port is already allocated|address already in use/i.test(String(error));

async function startOn(port: number, name: ServerName, options: ContainerOptions): Promise<RunningServer> {
  const { GenericContainer, getContainerRuntimeClient } = await import("testcontainers");
  const { image, port: inside } = IMAGES[name];
  const client = await getContainerRuntimeClient();
  // Within a container ourselves, or with an engine elsewhere, published ports are not on our own loopback.
  const engine = client.info.containerRuntime.host;
  const host = engine === "localhost" ? "127.0.0.1" : engine;
  const where = { host, port };

  /** These servers trust everybody: as far as possible, no other machine may reach the published port. */
  class OnLoopback extends GenericContainer {
    protected override async beforeContainerCreated(): Promise<void> {
      this.hostConfig.PortBindings = {
        [`${inside}/tcp`]: [{ HostIp: engine === "localhost" ? host : "", HostPort: String(port) }],
      };
    }
  }

  const started = await new OnLoopback(image)
    .withExposedPorts({ container: inside, host: port })
    .withEnvironment(name === "postgres" ? { POSTGRES_HOST_AUTH_METHOD: "trust" } : {})
    .withCommand([...options.command])
    .start();
  const handle = client.container.getById(started.getId());
  let pid = 0;
  let paused = Promise.resolve();

  async function serving(): Promise<void> {
    for (const deadline = Date.now() + READY_WITHIN_MS; !(await options.ready(where)); await delay(50)) {
      if (Date.now() > deadline) throw new Error(`it did not serve within ${READY_WITHIN_MS / 1000} s`);
    }
    pid = (await handle.inspect()).State.Pid;
  }
  const isRunning = async () => (await handle.inspect()).State.Running;

  await serving();
  return {
    url: options.url(where),
    host,
    port,
    get pid() {
      return pid;
    },
    async stop() {
      await paused;
      if (await isRunning()) await handle.stop({ t: 5 });
    },
    async kill() {
      await paused;
      if (await isRunning()) await handle.kill({ signal: "SIGKILL" });
    },
    async restart() {
      await paused;
      await handle.restart({ t: 5 });
      await serving();
    },
    // The engine freezes and thaws a whole container; the calls take effect in their order.
    pause() {
      paused = paused.then(() => handle.pause());
    },
    resume() {
      paused = paused.then(() => handle.unpause());
    },
  };
}
