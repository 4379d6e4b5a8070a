import type { Reply } from "./protocol.js";

/**
 * memcached tells connections apart by the client's address and port, as `stats conns` lists them. Where an address is
 * translated on the way, ours is not among them, and nothing can be told about our connections from outside: such an
 * endpoint is marked, so that nobody takes its absence from the list for its end.
 */
const HIDDEN = "hidden:";

export function hidden(endpoint: string): string {
  return HIDDEN + endpoint;
}

export function isHidden(endpoint: string): boolean {
  return endpoint.startsWith(HIDDEN);
}

/** `address:port`, in one spelling for IPv4 wherever it comes from. */
export function endpointOf(address: string, port: number | string): string {
  return `${address.replace(/^::ffff:/i, "").toLowerCase()}:${port}`;
}

/** The clients' ends of all connections in a reply to `stats conns`. */
export function endpointsIn(replies: readonly Reply[]): Set<string> {
  const found = new Set<string>();
  for (const { code, words } of replies) {
    if (code !== "STAT" || !words[0]?.endsWith(":addr")) continue;
    // `tcp:1.2.3.4:5` or `tcp6:[::1]:5`.
    const parts = /^tcp6?:\[?([^\]]+?)\]?:(\d+)$/.exec(words[1] ?? "");
    if (parts !== null) found.add(endpointOf(parts[1]!, parts[2]!));
  }
  return found;
}
