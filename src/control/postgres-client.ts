import type { Socket } from "node:net";
import pg from "pg";
import { Messages } from "./postgres-messages.js";

/** The driver's own connection, as far as it is used here. */
interface Wire {
  attachListeners(stream: Socket): void;
}

/**
 * The driver's client, which reads nothing but sound messages: whatever else comes, and whatever the driver throws at
 * what came, ends this one connection, with an error that its owner hears as for any broken connection.
 */
export class PostgresClient extends pg.Client {
  constructor(config?: string | pg.ClientConfig) {
    super(config);
    const { connection } = this as unknown as { connection: Wire };
    const attach = connection.attachListeners.bind(connection);
    // Called for the stream that the protocol runs over: the socket, or TLS on it.
    connection.attachListeners = (stream) => {
      guard(stream);
      attach(stream);
    };
  }
}

function guard(stream: Socket): void {
  const messages = new Messages();
  const emit = stream.emit.bind(stream) as (name: string, ...args: unknown[]) => boolean;
  stream.emit = (name: string, ...args: unknown[]): boolean => {
    if (name !== "data") return emit(name, ...args);
    if (stream.destroyed) return true;
    try {
      const whole = messages.push(args[0] as Buffer);
      return whole.length === 0 || emit("data", whole);
    } catch {
      // The driver's text may quote what it could not read.
      stream.destroy(new Error("PostgreSQL sent what no client can read"));
      return true;
    }
  };
}
