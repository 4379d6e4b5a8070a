import { ensureServers } from "../../servers/index.js";
import { defineCommand } from "../command.js";
import { flag } from "../options.js";
import type { Servers } from "../schemas.js";
import { table } from "../terminal.js";

export const command = defineCommand({
  options: { install: flag("Install what is missing (Debian or Ubuntu, as root or with sudo).") },
  examples: [["$0 servers --install", "Find Redis, memcached and PostgreSQL, and install what is missing"]],
  async run(context, { install }) {
    const found = await ensureServers({ install, log: (line) => context.output.log(line) });
    const json: Servers = { servers: [...found] };
    return { json, text: table(found.map(({ name, version, from }) => [name, version, from])) };
  },
});
