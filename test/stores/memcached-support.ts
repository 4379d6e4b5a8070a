import { connect } from "node:net";
import type { RunningServer } from "../../src/servers/index.js";

/** Sends bytes over a connection of its own; resolves with what came back once it holds `until`, or a first line. */
export function raw(server: RunningServer, bytes: string | Buffer, until = "\r\n"): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = connect(server.port, server.host, () => socket.write(bytes));
    let got = Buffer.alloc(0);
    socket.on("error", reject);
    socket.on("data", (chunk) => {
      got = Buffer.concat([got, chunk]);
      if (!got.includes(until)) return;
      socket.destroy();
      resolve(got);
    });
  });
}
