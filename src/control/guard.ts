import type { Socket } from "node:net";

/**
 * Stands before a driver that trusts its server: it sees what comes over the stream only as far as `sound` gives it on.
 * What that throws at, and what the driver itself throws at, ends this one connection, as if it had broken.
 *
 * @param sound gives the bytes that the driver may read now, maybe none
 */
export function guard(stream: Socket, server: string, sound: (chunk: Buffer) => Buffer): void {
  const emit = stream.emit.bind(stream) as (name: string, ...args: unknown[]) => boolean;
  stream.emit = (name: string, ...args: unknown[]): boolean => {
    if (name !== "data") return emit(name, ...args);
    if (stream.destroyed) return true;
    try {
      const bytes = sound(args[0] as Buffer);
      return bytes.length === 0 || emit("data", bytes);
    } catch {
      // The text of what was thrown may quote what could not be read.
      stream.destroy(new Error(`${server} sent what no client can read`));
      return true;
    }
  };
}
