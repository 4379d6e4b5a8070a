/** Slots of a Redis Cluster; what lies in one slot lies on one server, and one script may work on it. */
export const SLOTS = 16_384;

/** CRC-16 as the Cluster specification has it: polynomial 0x1021, from 0, nothing reflected. */
const CRC = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8;
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
  return crc;
});

/**
 * The slot of a key by Redis' own rule: of its *hash tag*, what stands between its first { and the first } behind that,
 * or of the whole key where there is no such pair, or nothing between. Our own, because the driver's takes a tag that is
 * empty for one that is not there.
 */
export function slotOfKey(key: string | Buffer): number {
  const bytes = typeof key === "string" ? bytesOf(key) : key.toString("latin1");
  const open = bytes.indexOf("{");
  const close = open === -1 ? -1 : bytes.indexOf("}", open + 1);
  const [from, to] = close > open + 1 ? [open + 1, close] : [0, bytes.length];
  let crc = 0;
  for (let at = from; at < to; at++) crc = ((crc << 8) & 0xffff) ^ CRC[(crc >> 8) ^ bytes.charCodeAt(at)]!;
  return crc % SLOTS;
}

/** The key's UTF-8 with a character for each byte. */
function bytesOf(key: string): string {
  for (let at = 0; at < key.length; at++) {
    if (key.charCodeAt(at) > 0x7f) return Buffer.from(key).toString("latin1");
  }
  return key;
}

/** Of each slot the shortest number whose text lies in it: at most six digits. Found when it is first wanted. */
let tags: readonly string[] | null = null;

/** What stands between the braces of a key of ours that has to lie in this slot. */
export function tagOf(slot: number): string {
  tags ??= findTags();
  return tags[slot]!;
}

function findTags(): string[] {
  const found = new Array<string>(SLOTS);
  let missing = SLOTS;
  for (let number = 0; missing > 0; number++) {
    const tag = number.toString(36);
    const slot = slotOfKey(tag);
    if (found[slot] !== undefined) continue;
    found[slot] = tag;
    missing--;
  }
  return found;
}
