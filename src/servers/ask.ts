/** Small talk with a server over a plain socket: enough to learn whether it serves. Drivers are none of our business. */
import { connect } from "node:net";
import { connect as connectTls } from "node:tls";

export interface Address {
  readonly host: string;
  readonly port: number;
}

/**
 * Sends `question` and collects the answer until `enough` says so.
 * @returns the answer, or null when the server cannot be reached, hangs up early or takes longer than `timeoutMs`.
 */
export function ask(
  where: Address,
  question: Uint8Array | string,
  enough: (answer: Buffer) => boolean,
  timeoutMs = 1_000,
  tls = false,
): Promise<Buffer | null> {
  return new Promise((resolve) => {
    let answer: Buffer = Buffer.alloc(0);
    const { host, port } = where;
    // Whose certificate it is says nothing about whether it serves.
    const socket = tls ? connectTls({ host, port, rejectUnauthorized: false }) : connect({ host, port });
    const finish = (result: Buffer | null) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(result);
    };
    const timer = setTimeout(() => finish(null), timeoutMs);
    socket.on(tls ? "secureConnect" : "connect", () => socket.write(question));
    socket.on("data", (chunk) => {
      answer = Buffer.concat([answer, chunk]);
      if (enough(answer)) finish(answer);
    });
    socket.on("error", () => finish(null));
    socket.on("close", () => finish(null));
  });
}
