import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ConnectionOptions, connect } from "node:tls";

export interface TlsTunnel {
  /** Of a unix socket that only this account may connect to; what goes in comes out at the server, over TLS. */
  readonly path: string;
  close(): Promise<void>;
}

/** For a client that speaks no TLS itself. */
export async function openTlsTunnel(options: ConnectionOptions): Promise<TlsTunnel> {
  const folder = mkdtempSync(join(tmpdir(), "sessionferry-tls-"));
  const path = join(folder, "socket");
  const server = createServer((inside) => {
    const outside = connect(options);
    for (const [one, other] of [[inside, outside] as const, [outside, inside] as const]) {
      one.on("error", () => other.destroy());
      one.on("close", () => other.destroy());
      one.pipe(other);
    }
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, resolve);
  });
  return {
    path,
    async close() {
      server.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
