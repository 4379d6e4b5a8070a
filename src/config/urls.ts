export type StoreUrlRole = "legacy" | "redis" | "queue" | "control";

const SUPPORTED: Readonly<Record<StoreUrlRole, readonly string[]>> = {
  legacy: ["postgres", "postgresql", "memcached"],
  redis: ["redis", "rediss", "redis-sentinel", "redis-cluster"],
  queue: ["redis", "rediss", "redis-sentinel"],
  control: ["postgres", "postgresql", "redis", "rediss", "redis-sentinel"],
};

/** Schemes that belong to the design and are not built yet, so that the message can say more than "unknown". */
const PLANNED: Readonly<Record<StoreUrlRole, readonly string[]>> = {
  legacy: ["mysql"],
  redis: [],
  queue: ["redis-cluster"],
  control: ["mysql", "redis-cluster"],
};

export function schemeOf(url: string): string {
  return /^([a-z][a-z0-9+.-]*):\/\//i.exec(url)?.[1]?.toLowerCase() ?? "";
}

export function isPostgres(url: string): boolean {
  return schemeOf(url).startsWith("postgres");
}

export function isMemcached(url: string): boolean {
  return schemeOf(url) === "memcached";
}

export function isRedis(url: string): boolean {
  return schemeOf(url).startsWith("redis");
}

export function isCluster(url: string): boolean {
  return schemeOf(url) === "redis-cluster";
}

interface HostPort {
  readonly host: string;
  readonly port: number;
}

const HOST_PORT = /^(\[[0-9a-f:.]+\]|[^\s:[\]/@?#,]+)(?::(\d{1,5}))?$/i;

function parseHosts(list: string, defaultPort: number): HostPort[] | null {
  const hosts: HostPort[] = [];
  for (const item of list.split(",")) {
    const match = HOST_PORT.exec(item.trim());
    const port = match?.[2] === undefined ? defaultPort : Number(match[2]);
    if (match?.[1] === undefined || port < 1 || port > 65_535) return null;
    hosts.push({ host: match[1].replace(/^\[(.*)\]$/, "$1").toLowerCase(), port });
  }
  return hosts;
}

/** The servers of `memcached://h:p[,h:p]`, in the order given; null when the URL is not of that form. */
export function memcachedServers(url: string): HostPort[] | null {
  const match = /^memcached:\/\/([^/?#]+)\/?$/i.exec(url.trim());
  return match?.[1] === undefined ? null : parseHosts(match[1], 11_211);
}

/** Servers that a URL names, for the same-store guard and for messages; without user, password and options. */
export function serversOf(url: string): HostPort[] {
  if (isMemcached(url)) return memcachedServers(url) ?? [];
  const authority = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)/i.exec(url)?.[1] ?? "";
  const hosts = authority.slice(authority.lastIndexOf("@") + 1);
  const port = isPostgres(url) ? 5432 : schemeOf(url) === "redis-sentinel" ? 26_379 : 6379;
  return hosts === "" ? [] : (parseHosts(hosts, port) ?? []);
}

/** What is wrong with a store's URL, as the end of a sentence that begins with its key; null when nothing is. */
export function urlProblem(url: string, role: StoreUrlRole): string | null {
  const scheme = schemeOf(url);
  const allowed = SUPPORTED[role].map((name) => `${name}://`).join(", ");
  if (scheme === "") return `is not a URL; it begins with one of ${allowed}`;
  if (PLANNED[role].includes(scheme)) return `names ${scheme}://, which is not supported yet; use one of ${allowed}`;
  if (!SUPPORTED[role].includes(scheme))
    return `has the scheme ${scheme}://, which cannot be used here; use one of ${allowed}`;
  if (scheme === "memcached") {
    if (memcachedServers(url) !== null) return null;
    return "must have the form memcached://host:port[,host:port], without user, path or options";
  }
  if (scheme === "redis-sentinel") {
    if (/^[^/?#\s]+\/[^/?#\s]+(\/\d{1,4})?$/.test(url.slice("redis-sentinel://".length)) && serversOf(url).length > 0)
      return null;
    return "must have the form redis-sentinel://host:port,host:port/name";
  }
  if (scheme === "redis-cluster") {
    if (/^[^/?#\s]+$/.test(url.slice("redis-cluster://".length)) && serversOf(url).length > 0) return null;
    return "must have the form redis-cluster://host:port,host:port, without database or options; redis.tls has those of TLS";
  }
  if (!URL.canParse(url)) {
    return "cannot be read as a URL; characters such as @ / # ? % in the password must be percent-encoded";
  }
  const parsed = new URL(url);
  if (scheme.startsWith("redis") && parsed.hostname === "") return "names no host";
  if (scheme.startsWith("redis") && `${parsed.search}${parsed.hash}` !== "")
    return "must not have options after ? or #";
  if (scheme.startsWith("redis") && parsed.port === "0") return "has the port 0";
  if (scheme.startsWith("redis") && !/^\/?\d{0,4}$/.test(parsed.pathname))
    return "must end with nothing or a database number";
  try {
    decodeURIComponent(parsed.username);
    decodeURIComponent(parsed.password);
  } catch {
    return "has a user or password with a % that is not percent-encoded (%25)";
  }
  return null;
}

/**
 * The URL as it may be printed: the password, and secrets in its options, are replaced by ***. What cannot be taken
 * apart safely is cut away, because a host too few is better than a password too many.
 */
export function redactUrl(url: string): string {
  const match = /^\s*([a-z][a-z0-9+.-]*):\/\/(.*)$/is.exec(url);
  if (match?.[1] === undefined || match[2] === undefined) return "***";
  const scheme = match[1].toLowerCase();
  // A password that was not percent-encoded may hold / ? # or @: everything before the last @ counts as user and password.
  const at = match[2].lastIndexOf("@");
  const userInfo = at === -1 ? "" : match[2].slice(0, at);
  const rest = at === -1 ? match[2] : match[2].slice(at + 1);
  const colon = userInfo.indexOf(":");
  let user = "";
  if (at !== -1) {
    if (colon !== -1) user = `${userInfo.slice(0, colon)}:***@`;
    // In a Redis URL a lone word before the @ is often a password whose colon was forgotten.
    else user = scheme.startsWith("redis") || /[/?#]/.test(userInfo) ? "***@" : `${userInfo}@`;
  }
  const query = rest.indexOf("?");
  if (query === -1) return `${scheme}://${user}${rest}`;
  const options = rest
    .slice(query + 1)
    .split("&")
    .map((option) =>
      /^[^=]*(pass|pwd|secret|token|key|auth|cred)[^=]*=/i.test(option) ? option.replace(/=.*$/s, "=***") : option,
    );
  return `${scheme}://${user}${rest.slice(0, query)}?${options.join("&")}`;
}

/** Every spelling of the secrets in a URL, so that a driver's text can be cleaned of them before it is printed. */
export function secretsOf(url: string): string[] {
  const userInfo = /^[a-z][a-z0-9+.-]*:\/\/(.*)@/is.exec(url)?.[1] ?? "";
  const raw = [userInfo.includes(":") ? userInfo.slice(userInfo.indexOf(":") + 1) : ""];
  for (const option of url.slice(url.indexOf("?") + 1).split("&")) {
    const match = /^[^=]*(?:pass|pwd|secret|token)[^=]*=(.*)$/is.exec(option);
    if (match?.[1] !== undefined) raw.push(match[1]);
  }
  const secrets = new Set<string>();
  for (const text of raw) {
    if (text === "") continue;
    secrets.add(text);
    try {
      secrets.add(decodeURIComponent(text));
    } catch {
      // Not percent-encoded: the raw spelling is the only one.
    }
  }
  return [...secrets];
}
