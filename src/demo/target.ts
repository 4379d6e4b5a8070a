import { Agent, request as httpRequest } from "node:http";
import { EXPIRY_HEADER } from "./app.js";

/** The process that was asked has been killed meanwhile: nobody knows what became of the request. */
export class CutOff extends Error {
  override readonly name = "CutOff";
}

export interface HttpRequest {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly cookie?: string;
  readonly body?: Readonly<Record<string, unknown>>;
}

export interface HttpAnswer {
  readonly status: number;
  readonly body: unknown;
  /** The session cookie that the site set, `name=value`; null when it set none. */
  readonly cookie: string | null;
  /** When the session will expire, milliseconds since the epoch; null without a session. */
  readonly expiresAt: number | null;
}

/** Requests take this long at most before they count as failed, in milliseconds. */
const PATIENCE = 20_000;

/** One application process, as the load balancer sees it. */
export class Target {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 64 });
  #inFlight = 0;
  #idle: (() => void)[] = [];
  #killed = false;
  /** Whether new requests may be sent here. */
  open = true;

  constructor(
    readonly name: string,
    readonly port: number,
  ) {}

  /** Requests under way. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Rejects with `CutOff` when the process was killed, else with what went wrong. */
  async send(request: HttpRequest): Promise<HttpAnswer> {
    this.#inFlight++;
    try {
      return await this.#exchange(request);
    } catch (error) {
      if (this.#killed) throw new CutOff("the process was killed");
      throw error;
    } finally {
      if (--this.#inFlight === 0) for (const resolve of this.#idle.splice(0)) resolve();
    }
  }

  /** Takes it out of the balancer and waits for the requests under way. */
  async drain(): Promise<void> {
    this.open = false;
    if (this.#inFlight > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
    this.#agent.destroy();
  }

  /** To be called just before the process is killed. How many requests that cuts off. */
  killed(): number {
    this.open = false;
    this.#killed = true;
    return this.#inFlight;
  }

  #exchange({ method, path, cookie, body }: HttpRequest): Promise<HttpAnswer> {
    const payload = body === undefined ? undefined : JSON.stringify(body);
    const headers: Record<string, string | number> = {};
    if (cookie !== undefined) headers.cookie = cookie;
    if (payload !== undefined) {
      headers["content-type"] = "application/json";
      headers["content-length"] = Buffer.byteLength(payload);
    }
    return new Promise((resolve, reject) => {
      const outgoing = httpRequest(
        { host: "127.0.0.1", port: this.port, method, path, headers, agent: this.#agent },
        (incoming) => {
          const chunks: Buffer[] = [];
          incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
          incoming.on("error", reject);
          incoming.on("end", () => {
            if (!incoming.complete) return reject(new Error("the response was cut short"));
            try {
              const expires = incoming.headers[EXPIRY_HEADER];
              resolve({
                status: incoming.statusCode ?? 0,
                body: chunks.length === 0 ? null : JSON.parse(Buffer.concat(chunks).toString()),
                cookie: incoming.headers["set-cookie"]?.[0]?.split(";")[0] ?? null,
                expiresAt: expires === undefined ? null : Number(expires),
              });
            } catch (error) {
              reject(error);
            }
          });
        },
      );
      outgoing.setTimeout(PATIENCE, () => outgoing.destroy(new Error(`no answer within ${PATIENCE / 1000} s`)));
      outgoing.on("error", reject);
      outgoing.end(payload);
    });
  }
}
