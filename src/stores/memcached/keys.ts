/** memcached's limit for a key as it stands in a command. */
const LONGEST = 250;
/** A key that goes in base64 must not exceed that limit in its encoded form, padding included. */
const LONGEST_RAW = 186;

/** A key as a meta command carries it. */
export interface Key {
  /** One character for each byte. */
  readonly token: string;
  /** The server is to decode it first (flag `b`): the item's own key is the raw bytes, the same for every client. */
  readonly base64: boolean;
}

/** Null where memcached cannot have such a key: empty, or too long. */
export function encodeKey(key: string): Key | null {
  // Almost all keys are such: one byte a character, nothing that would end the token or the command.
  if (/^[\x21-\x7e]+$/.test(key)) return key.length <= LONGEST ? { token: key, base64: false } : null;
  return encodeBytes(Buffer.from(key));
}

/** Of a key that is told byte by byte, one character for each. */
export function encodeRawKey(key: string): Key | null {
  if (/^[\x21-\x7e]+$/.test(key)) return key.length <= LONGEST ? { token: key, base64: false } : null;
  return encodeBytes(Buffer.from(key, "latin1"));
}

function encodeBytes(key: Buffer): Key | null {
  if (key.length === 0) return null;
  // Spaces and control bytes would end the token or the command.
  if (!key.some((byte) => byte <= 0x20 || byte === 0x7f)) {
    return key.length <= LONGEST ? { token: key.toString("latin1"), base64: false } : null;
  }
  return key.length <= LONGEST_RAW ? { token: key.toString("base64"), base64: true } : null;
}

/** The key of a `metadump` line, which is URI-encoded byte by byte; null where its bytes are no UTF-8. */
export function decodeDumpedKey(encoded: string): string | null {
  if (!encoded.includes("%")) return encoded;
  try {
    return decodeURIComponent(encoded);
  } catch {
    return null;
  }
}
