import { chmodSync, lstatSync, unlinkSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { FerryError } from "../../errors.js";
import type { Listener } from "./options.js";

/** Bytes that are read at once, and that may wait in a socket before we wait for its client. */
const AT_ONCE = 64 * 1024;

export interface Listening {
  readonly server: Server;
  readonly address: string;
}

/**
 * Listens; every client that has connected (with TLS: and shown that it speaks it) is given to `connected`.
 *
 * A client may close its half and still get its answers. Rejects with CONFIG_INVALID, which names the address.
 */
export async function listen(
  { listen, tls }: Listener,
  handshake: number,
  connected: (socket: Socket) => void,
): Promise<Listening> {
  const options = { allowHalfOpen: true, noDelay: true, keepAlive: true, highWaterMark: AT_ONCE };
  const server =
    tls === undefined
      ? createServer(options, connected)
      : createTlsServer({ ...tls, ...options, handshakeTimeout: handshake }, connected);
  // Of TLS: whoever does not get through the handshake is none of our clients.
  server.on("tlsClientError", () => {});
  const path = listen.includes("/") ? listen : null;
  if (path !== null) await removeLeftover(path);
  const where = path === null ? endpoint(listen) : { path };
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => reject(cannot(listen, cause.code ?? cause.message, cause)));
    server.listen(where, resolve);
  });
  server.on("error", () => {});
  if (path !== null) chmodSync(path, 0o700);
  return { server, address: path ?? text(server.address() as AddressInfo) };
}

function endpoint(listen: string): { host: string; port: number } {
  const colon = listen.lastIndexOf(":");
  const host = listen.slice(0, colon).replace(/^\[(.*)\]$/, "$1");
  const port = Number(listen.slice(colon + 1));
  if (colon <= 0 || !Number.isInteger(port) || port < 0 || port > 65535 || listen.endsWith(":")) {
    throw cannot(listen, "it is neither host:port nor a path");
  }
  return { host, port };
}

const text = ({ family, address, port }: AddressInfo) =>
  family === "IPv6" ? `[${address}]:${port}` : `${address}:${port}`;

/** A socket whose process was killed stays behind; one that somebody answers on is left alone. */
async function removeLeftover(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) throw cannot(path, "something else is there");
  const answered = await new Promise<boolean>((resolve) => {
    const socket = connect({ path }, () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
  if (answered) throw cannot(path, "another process listens there");
  unlinkSync(path);
}

function cannot(listen: string, why: string, cause?: unknown): FerryError {
  return new FerryError("CONFIG_INVALID", `The memcached door cannot listen on ${listen}: ${why}.`, { cause });
}
