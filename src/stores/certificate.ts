import { FerryError } from "../errors.js";

/** What Node says of a certificate that it does not accept. */
const DISTRUSTED = /CERT|SELF_SIGNED|UNABLE_TO/;

/**
 * AUTHENTICATION_FAILED where a connection was not made because the server's certificate is not trusted, which no waiting
 * mends; else null.
 *
 * @param server kind and address, for the message
 * @param section of the configuration that says whom to trust
 */
export function distrusted(server: string, failure: unknown, section: "legacy.tls" | "redis.tls"): FerryError | null {
  const { code } = (failure ?? {}) as { code?: unknown };
  if (typeof code !== "string" || !DISTRUSTED.test(code)) return null;
  return new FerryError("AUTHENTICATION_FAILED", `The certificate of ${server} is not trusted (${code}).`, {
    remedy: `Name who signed it under \`${section}.ca\`, and the name that it is made out to under \`${section}.servername\`.`,
  });
}
