import { ensureClients, ensureServers } from "../../servers/index.js";
import { defineCommand } from "../command.js";
import { flag } from "../options.js";
import type { Servers } from "../schemas.js";
import { table } from "../terminal.js";

export const command = defineCommand({
  options: {
    install: flag("Install what is missing (Debian or Ubuntu, as root or with sudo)."),
    clients: flag("memcached's clients in other languages as well, with which the tests try the door."),
    "heavy-clients": flag("With --clients: those of Java and Go, too, whose packages are large."),
  },
  examples: [["$0 servers --install", "Find Redis, memcached and PostgreSQL, and install what is missing"]],
  async run(context, { install, clients, "heavy-clients": heavy }) {
    const log = (line: string) => context.output.log(line);
    const found = await ensureServers({ install, log });
    const more = clients ? await ensureClients({ install, heavy, log }) : null;
    const json: Servers = {
      servers: [...found],
      ...(more && { clients: more.map(({ name, version, program }) => ({ name, version, from: program })) }),
    };
    const rows = [...json.servers, ...(json.clients ?? [])];
    return { json, text: table(rows.map(({ name, version, from }) => [name, version, from])) };
  },
});
