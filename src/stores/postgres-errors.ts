import pg from "pg";
import { cleanCause } from "../control/redact.js";
import { FerryError } from "../errors.js";
import { LegacyRefused, LegacyUnreachable } from "../ports/legacy-store.js";

/**
 * What PostgreSQL says about data (class 22), constraints (23) and from triggers (P0) can quote a session id or a value,
 * and so can every error's detail and context. Only the first line of these classes is fit to be shown.
 */
const PRESENTABLE = /^(08|25|26|28|3D|3F|40|42|53|54|55|57|58)/;

/** Values that json or jsonb, the encoding, or text itself cannot hold. */
const VALUE_REFUSED = new Set(["22P02", "22P05", "22021", "22030", "22032"]);
const TABLE_REFUSED = new Set(["42P01", "42703", "42P10", "42804", "42883", "3F000"]);
const CREDENTIALS_REFUSED = new Set(["28P01", "28000"]);
/** The two that ask for the same statement again. */
/** The transaction, or the server, takes no changes. */
export const READ_ONLY = "25006";

const TRANSIENT = new Set(["40001", "40P01"]);

/** A prepared statement that is not there, is already there, or was prepared for a table of another shape. */
const FORGOTTEN = new Set(["26000", "42P05", "0A000"]);

/** Whether the statement may do where it is not prepared. */
export function forgotten(error: pg.DatabaseError): boolean {
  return FORGOTTEN.has(error.code ?? "");
}

export function isTransient(error: pg.DatabaseError): boolean {
  return TRANSIENT.has(error.code ?? "");
}

export function isValueRefused(error: unknown): error is FerryError {
  return error instanceof FerryError && error.code === "VALUE_INVALID";
}

/** Whoever stands between us and the server was told the password, and may repeat it. */
function told(error: pg.DatabaseError, secrets: readonly string[]): string {
  const code = error.code ?? "";
  return PRESENTABLE.test(code) ? `${code}: ${cleanCause(error, secrets).message}` : code;
}

/** PostgreSQL answered a statement with an error and rolled it back: nothing changed. */
export function refused(error: pg.DatabaseError, secrets: readonly string[]): FerryError | LegacyRefused {
  const code = error.code ?? "";
  if (VALUE_REFUSED.has(code)) {
    return new FerryError("VALUE_INVALID", `The session table refused a session's value (${code}).`);
  }
  if (code === "22001") {
    return new FerryError("KEY_TOO_LONG", "A session id or value is longer than its column allows (22001).", {
      remedy: "Shorten the session id, or widen the columns of the session table.",
    });
  }
  if (code === "54000" || code === "53400") {
    return new FerryError("VALUE_TOO_LARGE", `A session is larger than PostgreSQL takes (${told(error, secrets)}).`, {
      remedy: "Make the session smaller.",
    });
  }
  if (TABLE_REFUSED.has(code)) return new FerryError("TABLE_UNSUITABLE", `PostgreSQL says ${told(error, secrets)}.`);
  return new LegacyRefused(`PostgreSQL refused a statement (${told(error, secrets)}).`, code);
}

/** No connection could be had, so that nothing was sent. `where` names the server, without its password. */
export function unreachable(cause: unknown, where: string, secrets: readonly string[]): FerryError | LegacyUnreachable {
  if (cause instanceof LegacyUnreachable || cause instanceof FerryError) return cause;
  if (cause instanceof pg.DatabaseError) {
    if (CREDENTIALS_REFUSED.has(cause.code ?? "")) {
      return new FerryError("AUTHENTICATION_FAILED", `${where} refused the user or its password (${cause.code}).`);
    }
    return new LegacyUnreachable(`${where} takes no connection (${told(cause, secrets)}).`);
  }
  // The driver hangs its client on its errors, and with it everything that the client knows.
  const clean = cleanCause(cause, secrets);
  return new LegacyUnreachable(`${where} cannot be reached: ${clean.message}.`, { cause: clean });
}

/** A URL as it may be shown: scheme, user, host, port and database. */
export function shownUrl(url: URL): string {
  const user = url.username === "" ? "" : `${decodeURIComponent(url.username)}@`;
  return `${url.protocol}//${user}${url.host}${url.pathname}`;
}
