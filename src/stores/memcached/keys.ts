/** memcached's limit for a key as it stands in a command. */
const LONGEST = 250;
/** A key that goes in base64 must not exceed that limit in its encoded form, padding included. */
const LONGEST_RAW = 186;

/** A key as a meta command carries it. */
export interface Key {
  readonly token: string;
  /** The server is to decode it first (flag `b`): the item's own key is the raw bytes, the same for every client. */
  readonly base64: boolean;
}

/** Null where memcached cannot have such a key: empty, or too long. */
export function encodeKey(key: string): Key | null {
  const length = Buffer.byteLength(key);
  if (length === 0) return null;
  // Spaces and control bytes would end the token or the command.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (!/[\x00-\x20\x7f]/.test(key)) return length <= LONGEST ? { token: key, base64: false } : null;
  return length <= LONGEST_RAW ? { token: Buffer.from(key).toString("base64"), base64: true } : null;
}

/** The key of a `metadump` line, which is URI-encoded byte by byte; null where its bytes are no UTF-8. */
export function decodeDumpedKey(encoded: string): string | null {
  try {
    return decodeURIComponent(encoded);
  } catch {
    return null;
  }
}
