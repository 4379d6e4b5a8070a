import { memcachedServers } from "../../config/urls.js";
import type { Config } from "../../core/config.js";
import { EXIT, FerryError } from "../../errors.js";
import { Log } from "../../observe/index.js";
import { servesItems } from "../../runtime/open.js";
import { defineCommand } from "../command.js";
import { untilAborted } from "../control.js";
import { text } from "../options.js";

export const command = defineCommand({
  options: {
    listen: text(
      "Listen here instead of where proxy.listeners says: HOST:PORT, or the path of a unix socket.",
      "ADDRESS",
    ),
    server: text("The memcached of legacy.url that --listen stands for; needed where there are several.", "ADDRESS"),
    http: text("Serve /healthz, /readyz and /metrics here instead of at proxy.http; none for nowhere.", "ADDRESS"),
  },
  examples: [
    ["$0 proxy", "Serve memcached's clients as proxy.listeners says, until it is told to stop"],
    ["$0 proxy --listen 127.0.0.1:11211 --http 127.0.0.1:9150", "The same from the command line"],
    ["$0 proxy --json", "One JSON document a line for what happens"],
  ],
  async run(context, values) {
    const { output, signal } = context;
    const written = context.config();
    // Flags are this process' own: what every process must know of is written where all of them read it.
    if (values.listen !== undefined && !servesItems(written)) {
      throw new FerryError("USAGE", `--listen is not enough with the preset ${written.legacy.preset}.`, {
        remedy: "Name `proxy.listeners` in the configuration of every process: all must know that clients are served.",
      });
    }
    const config = over(written, values);
    const log = new Log({
      json: output.json,
      ...(output.json && { write: (line: string) => void output.streams.stdout.write(line) }),
    });
    const { ProxyProcess } = await import("../../runtime/proxy.js");
    const proxy = await ProxyProcess.open(config, log);
    const { door, health } = proxy;
    for (const [i, address] of door.addresses.entries()) {
      log.info("listening", { listen: address, server: config.proxy.listeners[i]?.server ?? "" });
    }
    if (health !== null) log.info("health", { listen: health.address });
    await untilAborted(signal);
    log.info("draining", { clients: door.connections });
    await proxy.close();
    log.close();
    log.info("stopped", { commands: door.counters.commands });
    return { silent: true, exit: EXIT.done };
  },
});

interface Flags {
  readonly listen: string | undefined;
  readonly server: string | undefined;
  readonly http: string | undefined;
}

/** The configuration with the flags over it. */
function over(config: Config, { listen, server, http }: Flags): Config {
  const { proxy, legacy } = config;
  if (server !== undefined && listen === undefined) throw new FerryError("USAGE", "--server needs --listen.");
  if (listen !== undefined) requireAddress("--listen", listen, /^\S+:\d{1,5}$|^\S*\/\S+$/);
  if (server !== undefined) requireAddress("--server", server, /^\S+:\d{1,5}$/);
  if (http !== undefined) requireAddress("--http", http, /^\S+:\d{1,5}$|^none$/);
  return {
    ...config,
    proxy: {
      ...proxy,
      ...(listen !== undefined && { listeners: [{ listen, server: server ?? onlyServer(legacy.url) }] }),
      ...(http !== undefined && { http }),
    },
  };
}

function requireAddress(flag: string, value: string, shape: RegExp): void {
  if (!shape.test(value)) throw new FerryError("USAGE", `${flag} must have the form host:port`);
}

function onlyServer(url: string): string {
  const servers = memcachedServers(url) ?? [];
  const [first] = servers;
  if (first === undefined || servers.length > 1) {
    throw new FerryError("USAGE", "legacy.url names several servers: tell by --server which one --listen stands for.");
  }
  return first.host.includes(":") ? `[${first.host}]:${first.port}` : `${first.host}:${first.port}`;
}
