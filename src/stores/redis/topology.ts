/** What one server of a Redis Cluster tells of all of them (CLUSTER NODES). */

export interface ClusterNode {
  readonly host: string;
  readonly port: number;
  readonly isMaster: boolean;
  /** The majority of the masters cannot reach it. */
  readonly hasFailed: boolean;
  /** Runs of slots, first and last. */
  readonly slots: readonly (readonly [number, number])[];
  /** The server that was asked. */
  readonly isMyself: boolean;
  /** What changes when slots come or go: its id, its epoch, its slots, and those on their way to it or from it. */
  readonly holding: string;
  readonly isMoving: boolean;
}

const UNUSABLE = ["handshake", "noaddr"];

/**
 * @param askedHost stands where a server does not know its own address.
 * @param byName whether servers are to be called by the names that they announce: over TLS, certificates hold those.
 */
export function parseNodes(text: string, askedHost: string, byName: boolean): ClusterNode[] {
  const nodes: ClusterNode[] = [];
  for (const line of text.split("\n")) {
    const [id, where = "", told = "", , , , epoch, , ...held] = line.trim().split(" ");
    const match = /^([^@,]*):(\d+)(?:@\d+)?(?:,([^,]*))?/.exec(where.replace(/^\[(.*)\]/, "$1"));
    const flags = told.split(",");
    if (!id || match === null || flags.some((flag) => UNUSABLE.includes(flag))) continue;
    const [, address, port, name] = match;
    const moving = held.filter((range) => range.startsWith("["));
    nodes.push({
      host: (byName && name && name !== "?" ? name : address) || askedHost,
      port: Number(port),
      isMaster: flags.includes("master"),
      hasFailed: flags.includes("fail"),
      slots: held.filter((range) => /^\d/.test(range)).map(rangeOf),
      isMyself: flags.includes("myself"),
      holding: [id, epoch, ...held].join(" "),
      isMoving: moving.length > 0,
    });
  }
  return nodes;
}

function rangeOf(text: string): readonly [number, number] {
  const [first = "", last = first] = text.split("-");
  return [Number(first), Number(last)];
}
