import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { FerryError } from "../errors.js";

/** A scraper and a load balancer ask seldom and briefly; whoever holds more connections than this is neither. */
const CONNECTIONS = 100;
const PATIENCE = 10_000;

export interface HealthOptions {
  /** `host:port` or `[v6]:port`; port 0 for a free one. */
  readonly listen: string;
  /** Null while requests can be served, else why not, in a few words. */
  readonly ready: () => string | null;
  /** Prometheus text. */
  readonly metrics: () => Promise<string>;
}

export interface Health {
  /** As it can be connected to. */
  readonly address: string;
  close(): Promise<void>;
}

/**
 * `/healthz` says that the process lives, `/readyz` whether clients should be sent to it (200 or 503, with the reason),
 * `/metrics` what it counted. Nothing here tells of sessions, and nothing can be changed. Rejects with CONFIG_INVALID
 * where it cannot listen.
 */
export async function serveHealth({ listen, ready, metrics }: HealthOptions): Promise<Health> {
  const answers: Readonly<Record<string, () => Promise<Answer>>> = {
    "/healthz": async () => ({ status: 200, type: TEXT, body: "alive\n" }),
    "/readyz": async () => {
      const reason = ready();
      return { status: reason === null ? 200 : 503, type: TEXT, body: `${reason ?? "ready"}\n` };
    },
    "/metrics": async () => ({ status: 200, type: `${TEXT}; version=0.0.4`, body: await metrics() }),
  };
  const server = createServer((request, response) => void respond(answers, request, response));
  server.maxConnections = CONNECTIONS;
  server.requestTimeout = PATIENCE;
  server.headersTimeout = PATIENCE;
  const [, host = "", port = ""] = /^\[?(.*?)\]?:(\d+)$/.exec(listen) ?? [];
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => reject(new FerryError("CONFIG_INVALID", `proxy.http: ${error.message}.`)));
    server.listen({ host, port: Number(port) }, resolve);
  });
  const bound = server.address() as AddressInfo;
  return {
    address: bound.family === "IPv6" ? `[${bound.address}]:${bound.port}` : `${bound.address}:${bound.port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

const TEXT = "text/plain; charset=utf-8";

async function respond(
  answers: Readonly<Record<string, () => Promise<Answer>>>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const path = (request.url ?? "").replace(/\?.*$/s, "");
  const known = Object.hasOwn(answers, path) ? answers[path] : undefined;
  const isRead = request.method === "GET" || request.method === "HEAD";
  const answer =
    known === undefined
      ? { status: 404, type: TEXT, body: "/healthz, /readyz, /metrics\n" }
      : isRead
        ? await known().catch(() => ({ status: 500, type: TEXT, body: "cannot be told\n" }))
        : { status: 405, type: TEXT, body: "GET alone\n" };
  response.writeHead(answer.status, { "content-type": answer.type, "cache-control": "no-store" });
  response.end(request.method === "HEAD" ? "" : answer.body);
}
