import type { Socket } from "node:net";
import pg from "pg";
import { guard } from "./guard.js";
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
    // An error that nobody hears ends the process, and some come when the owner does not listen: a turn after the driver
    // has called itself connected, say. Whoever waits for an answer is told, and every later query is refused.
    this.on("error", () => {});
    const { connection } = this as unknown as { connection: Wire };
    const attach = connection.attachListeners.bind(connection);
    // Called for the stream that the protocol runs over: the socket, or TLS on it.
    connection.attachListeners = (stream) => {
      const messages = new Messages();
      guard(stream, "PostgreSQL", (chunk) => messages.push(chunk));
      attach(stream);
    };
  }
}
