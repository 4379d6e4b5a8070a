import type { NodeInfo } from "../ports/control-store.js";
import type { NodeDocument } from "./schemas.js";
import { headedTable, type Paint, span } from "./terminal.js";

/** A node's row of the registry as scripts see it. */
export function nodeDocument(node: NodeInfo, revision: number, now: number): NodeDocument {
  const { id, role, host, pid, version, protocol, state, joinedAt, renewedAt, report } = node;
  const { acknowledged, gap, redis, operations, errors, p95 } = report;
  return {
    id,
    role,
    state,
    host,
    pid,
    version,
    protocol,
    joinedAt,
    renewedAt,
    silentFor: Math.max(0, now - renewedAt),
    acknowledged: acknowledged >= revision,
    acknowledgedRevision: acknowledged,
    gap,
    redis,
    operations,
    errors,
    p95,
  };
}

export function nodesText(nodes: readonly NodeDocument[], paint: Paint): string {
  if (nodes.length === 0) return "No node has joined.";
  const rows = nodes.map((node) => [
    node.id,
    node.role,
    node.state === "live" ? "live" : paint("red", node.state),
    `${node.host}:${node.pid}`,
    node.acknowledged ? paint("green", "yes") : paint("yellow", "not yet"),
    node.redis === "up" || node.redis === "unused" ? node.redis : paint("red", node.redis),
    String(node.gap),
    node.p95 === null ? "-" : `${node.p95.toFixed(1)} ms`,
    `${span(node.silentFor)} ago`,
    node.version,
  ]);
  const headings = ["NODE", "ROLE", "STATE", "PROCESS", "ACKNOWLEDGED", "REDIS", "GAP", "P95", "SEEN", "VERSION"];
  return headedTable(paint, headings, rows);
}
