import { connect } from "node:net";
import type { Place } from "./drivers.js";

/** Sends a text command and gives what came back up to the end that memcached has for it. */
export function converse(
  { host, port }: Place,
  command: string,
  end = /(END|STORED|EXISTS|DELETED|NOT_FOUND|OK|ERROR.*)\r\n$/,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port });
    let said = "";
    const give = (settle: () => void) => {
      socket.destroy();
      settle();
    };
    socket.setTimeout(20_000, () => give(() => reject(new Error("no answer in 20 s"))));
    socket.on("error", (error) => give(() => reject(error)));
    socket.on("close", () => resolve(said));
    socket.on("data", (chunk: Buffer) => {
      said += chunk.toString("latin1");
      if (end.test(said)) give(() => resolve(said));
    });
    socket.write(command);
  });
}

/** A number that is kept as text; null where there is none. */
export async function numberAt(place: Place, key: string): Promise<number | null> {
  const said = await converse(place, `get ${key}\r\n`);
  const found = /^VALUE \S+ \d+ \d+\r\n *(\d+) *\r\n/.exec(said);
  return found === null ? null : Number(found[1]);
}
