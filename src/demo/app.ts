import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { parseArgs } from "node:util";
import { expressStore } from "../doors/express.js";
import { type LegacyName, openPlainStore } from "./legacy.js";
import { loadPeer, type SessionModule } from "./peers.js";

/** Lifetime of the application's sessions, which a page view renews. */
export const MAX_AGE = 45 * 60_000;
/** Tells the user when the session will expire (milliseconds since the epoch), as the store was told. */
export const EXPIRY_HEADER = "x-session-expires";

/** What an application process tells its parent. */
export type AppMessage =
  | { readonly type: "listening"; readonly port: number }
  /** The application's error handler was called: a request failed, though its response may have been sent before. */
  | { readonly type: "failed"; readonly route: string; readonly error: string };

interface Cart {
  readonly version: number;
  readonly items: readonly string[];
}

type Request = IncomingMessage & {
  body?: Record<string, unknown>;
  path: string;
  session: {
    user?: string;
    cart?: Cart;
    cookie: { expires?: Date | null };
    regenerate(callback: (error?: unknown) => void): void;
    destroy(callback: (error?: unknown) => void): void;
  };
};
type Response = ServerResponse & { status(code: number): Response; json(body: unknown): void };
type Next = (error?: unknown) => void;
type Handler = (request: Request, response: Response, next: Next) => void;
interface Express {
  (): Application;
  json(): unknown;
}
type Application = {
  (request: IncomingMessage, response: ServerResponse): void;
  use(middleware: unknown): void;
  get(path: string, handler: Handler): void;
  post(path: string, handler: Handler): void;
};

/** The shop: an ordinary Express application that knows nothing of the migration but the store it was given. */
export async function createShop(
  store: unknown,
  onFailure: (route: string, error: unknown) => void = () => {},
): Promise<(request: IncomingMessage, response: ServerResponse) => void> {
  const express = await loadPeer<Express>("express", "app");
  const session = await loadPeer<SessionModule>("express-session", "app");
  const app = express();
  app.get("/healthz", (_request, response) => response.json({ ok: true }));
  app.use(stampExpiry);
  app.use(
    session({
      store,
      secret: "the demo keeps no secrets",
      resave: false,
      saveUninitialized: false,
      cookie: { maxAge: MAX_AGE },
    }),
  );
  app.use(express.json());

  app.post("/login", (request, response, next) => {
    const user = request.body?.user;
    if (typeof user !== "string") return response.status(400).json({});
    request.session.regenerate((error) => {
      if (error) return next(error);
      request.session.user = user;
      request.session.cart = { version: 0, items: [] };
      response.json(request.session.cart);
    });
  });
  app.post("/cart", (request, response) => {
    const { user, cart } = request.session;
    if (user === undefined || cart === undefined) return response.status(401).json({});
    const item = request.body?.item;
    if (typeof item !== "string") return response.status(400).json({});
    request.session.cart = { version: cart.version + 1, items: [...cart.items, item] };
    response.json(request.session.cart);
  });
  const show: Handler = (request, response) => {
    const { user, cart } = request.session;
    if (user === undefined || cart === undefined) return response.status(401).json({});
    response.json(cart);
  };
  app.get("/cart", show);
  app.get("/page", show);
  app.post("/logout", (request, response, next) => {
    request.session.destroy((error) => (error ? next(error) : response.json({})));
  });
  // express-session completes the response even where its store failed, and calls this afterwards: a user would take
  // an unstored cart for stored. The parent hears of it, and the demo counts it as a failed request.
  app.use((error: unknown, request: Request, response: Response, _next: Next) => {
    onFailure(`${request.method} ${request.path}`, error);
    if (!response.headersSent) response.status(500).json({ error: describe(error) });
  });
  return app;
}

/**
 * express-session renews `cookie.expires` just before the headers go out. It wraps `writeHead` later than we do, so its
 * wrapper runs first, and ours sees the very expiry that the store is given.
 */
function stampExpiry(request: Request, response: Response, next: Next): void {
  const writeHead = response.writeHead;
  response.writeHead = function (this: ServerResponse, ...values: unknown[]) {
    const expires = request.session?.cookie?.expires;
    if (expires instanceof Date) this.setHeader(EXPIRY_HEADER, expires.getTime());
    return (writeHead as (...values: unknown[]) => ServerResponse).apply(this, values);
  } as typeof writeHead;
  next();
}

function describe(error: unknown): string {
  const { code, message } = error as { code?: unknown; message?: unknown };
  return typeof code === "string" ? code : String(message);
}

/** An application process: `app.js --store plain|ferry ...`, the child of the demo. */
async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      store: { type: "string", default: "ferry" },
      config: { type: "string" },
      legacy: { type: "string", default: "postgres" },
      "legacy-url": { type: "string" },
    },
  });
  const tell = (message: AppMessage) => {
    if (process.connected) process.send?.(message);
  };
  const { store, close } =
    values.store === "plain"
      ? await openPlainStore(values.legacy as LegacyName, values["legacy-url"] ?? "")
      : await openFerryStore(values.config);
  const shop = await createShop(store, (route, error) => tell({ type: "failed", route, error: describe(error) }));
  const server = createServer(shop);
  // Longer than the demo runs: a kept connection that is closed while a request travels looks like a failed request.
  server.keepAliveTimeout = 600_000;
  server.listen(0, "127.0.0.1", () => tell({ type: "listening", port: (server.address() as AddressInfo).port }));
  let ending = false;
  const end = () => {
    if (ending) return;
    ending = true;
    server.close(async () => {
      await close();
      process.exit(0);
    });
    server.closeIdleConnections();
  };
  process.once("SIGTERM", end);
  // A Ctrl-C reaches the whole group: the parent decides what happens to us.
  process.on("SIGINT", () => {});
  process.once("disconnect", () => process.exit(1));
}

async function openFerryStore(config: string | undefined): Promise<{ store: unknown; close(): Promise<void> }> {
  const { createFerry } = await import("../index.js");
  const ferry = await createFerry(config === undefined ? {} : { config });
  return { store: expressStore(ferry), close: () => ferry.close() };
}

if (process.argv[1] !== undefined && import.meta.url.endsWith("/demo/app.js") && process.send !== undefined) {
  main().catch((error: unknown) => {
    console.error(error);
    process.exit(1);
  });
}
