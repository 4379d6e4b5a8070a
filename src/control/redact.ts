/**
 * URLs and driver errors carry passwords: a URL in its text, ioredis in the arguments of a refused AUTH. Nothing of the
 * kind may reach an error that people or logs see.
 */

/**
 * The URL without its password and options, for messages. Where a stray `@` leaves it open which part is the password,
 * or a login stands alone (some put the password there), nothing of it is shown.
 */
export function shownUrl(url: string): string {
  const match = /^([a-z-]+:\/\/)(?:([^/?#@:]*)(:[^/?#]*)?@)?([^/?#@]*)(\/[^?#@]*)?(?:[?#][^@]*)?$/i.exec(url);
  if (match === null) return "(a URL that cannot be read)";
  const [, scheme, user, password, hosts, path] = match;
  const named = user && (password !== undefined || scheme!.toLowerCase().startsWith("postgres"));
  return `${scheme}${named ? `${user}@` : ""}${hosts}${path ?? ""}`;
}

/** The secrets in a URL, as written and as decoded. */
export function secretsOf(url: string): readonly string[] {
  const password = /^[a-z-]+:\/\/[^/?#@:]*:([^/?#]*)@/i.exec(url)?.[1];
  const inQuery = /[?&]password=([^&#]*)/i.exec(url)?.[1];
  const secrets: string[] = [];
  for (const secret of [password, inQuery]) {
    if (!secret) continue;
    secrets.push(secret);
    try {
      secrets.push(decodeURIComponent(secret));
    } catch {
      // A stray percent sign: the driver takes the text as written, and so do we.
    }
  }
  return secrets;
}

/** A copy of a driver's error that keeps what helps (name, text, code, stack) and drops all else. */
export function cleanCause(error: unknown, secrets: readonly string[]): Error {
  const source = error instanceof Error ? error : new Error(String(error));
  const clean = (text: string) =>
    secrets.reduce((rest, secret) => (secret.length > 2 ? rest.replaceAll(secret, "***") : rest), text);
  const copy = new Error(clean(textOf(source)));
  copy.name = source.name;
  if (source.stack !== undefined) copy.stack = clean(source.stack);
  const code = codeOf(source);
  if (code !== undefined) Object.assign(copy, { code });
  return copy;
}

export function codeOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : undefined;
}

/** Node wraps the attempts on several addresses in an AggregateError without a text of its own. */
function textOf(error: Error): string {
  if (error.message === "" && error instanceof AggregateError) {
    return error.errors.map((each) => (each instanceof Error ? each.message : String(each))).join("; ");
  }
  return error.message;
}
