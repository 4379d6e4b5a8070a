import { redactUrl, secretsOf } from "../config/urls.js";
import type { Config } from "../core/config.js";
import { FerryError } from "../errors.js";
import { asCatalogued } from "../jobs/patience.js";

/** Passwords of a configuration, in every spelling, longest first. */
export function secretsIn(config: Config | null): string[] {
  if (config === null) return [];
  const urls = [config.legacy.url, config.redis.url, config.control.url, config.workers.queue];
  const secrets = [...urls.flatMap(secretsOf), ...config.proxy.sasl.map(({ password }) => password)];
  return [...new Set(secrets)].filter((secret) => secret.length > 2).sort((a, b) => b.length - a.length);
}

/** Cuts out of a text what must not be read by people: passwords, and what a server quoted of a command. */
export function scrub(text: string, secrets: readonly string[]): string {
  const clean = secrets.reduce((rest, secret) => rest.replaceAll(secret, "***"), text);
  return clean.replace(/,? with args beginning with:.*$/s, "");
}

/** Unexpected texts come from anywhere: long words in them may be session ids. */
function scrubUnexpected(text: string, secrets: readonly string[]): string {
  return scrub(text, secrets).replace(/[A-Za-z0-9_%-]{24,}/g, "***");
}

/** The store that an error is about, as it may be shown. */
function placeOf(code: string, config: Config): string | null {
  if (code === "LEGACY_UNREACHABLE" || code === "LEGACY_REFUSED") return redactUrl(config.legacy.url);
  if (code === "REDIS_UNREACHABLE" || code === "REDIS_REFUSED") return redactUrl(config.redis.url);
  return code === "CONTROL_UNREACHABLE" || code === "CONTROL_REFUSED" ? redactUrl(config.control.url) : null;
}

/** Any failure as an error of the catalogue, its texts free of secrets. */
export function toFailure(error: unknown, config: Config | null): FerryError {
  const secrets = secretsIn(config);
  const known = asCatalogued(error);
  if (known instanceof FerryError) {
    const { code, remedy, changed, next, cause } = known;
    const place = config === null ? null : placeOf(code, config);
    const told = place === null || known.message.includes("://") ? known.message : `${known.message} (${place})`;
    return new FerryError(code, scrub(told, secrets), {
      remedy: scrub(remedy, secrets),
      changed,
      ...(next === null ? {} : { next }),
      cause,
    });
  }
  if (isAbort(error)) return new FerryError("INTERRUPTED", "interrupted", { cause: error });
  const name = error instanceof Error ? error.name : typeof error;
  const first = (error instanceof Error ? error.message : String(error)).split("\n")[0] ?? "";
  return new FerryError("UNEXPECTED", `${name}: ${scrubUnexpected(first, secrets)}`, { cause: error });
}

function isAbort(error: unknown): boolean {
  return error instanceof Error && (error.name === "AbortError" || (error as { code?: unknown }).code === "ABORT_ERR");
}

/** Where an error came from, cause by cause: frames alone, their messages scrubbed. For --verbose. */
export function traceOf(error: FerryError, config: Config | null): string {
  const secrets = secretsIn(config);
  const lines: string[] = [];
  for (let cause: unknown = error.cause ?? error; cause instanceof Error && lines.length < 60; cause = cause.cause) {
    lines.push(`${cause.name}: ${scrubUnexpected(cause.message.split("\n")[0] ?? "", secrets)}`);
    lines.push(...(cause.stack ?? "").split("\n").filter((line) => /^\s+at /.test(line)));
  }
  return lines.join("\n");
}
