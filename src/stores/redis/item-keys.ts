import type { CasToken } from "../../ports/items.js";

const FLAGS_LENGTH = 4;
const TOKEN_LENGTH = 8;
const KIND = Buffer.from("value");

/** What item keys hold: flags, then a token if one was given out, both big-endian; nothing where both are usual. */
export class ItemKeys {
  readonly usualBytes: Buffer;

  /**
   * @param kept whether there are such keys at all
   * @param usual the flags of an item without such a key
   */
  constructor(
    private readonly kept: boolean,
    private readonly usual: number,
  ) {
    this.usualBytes = bytesOf(usual, 0n);
  }

  /** The kind of a session as the scripts take it: the word, and what the item key is to hold. */
  kindOf(flags: number, token: CasToken): Buffer | string {
    if (!this.kept || (flags === this.usual && token === 0n)) return "value";
    return Buffer.concat([KIND, bytesOf(flags, token)]);
  }

  flagsIn(kept: Buffer | null | undefined): number {
    return kept && (kept.length === FLAGS_LENGTH || kept.length === FLAGS_LENGTH + TOKEN_LENGTH)
      ? kept.readUInt32BE(0)
      : this.usual;
  }

  tokenIn(kept: Buffer | null | undefined): CasToken {
    return kept?.length === FLAGS_LENGTH + TOKEN_LENGTH ? kept.readBigUInt64BE(FLAGS_LENGTH) : 0n;
  }
}

function bytesOf(flags: number, token: CasToken): Buffer {
  const bytes = Buffer.alloc(token === 0n ? FLAGS_LENGTH : FLAGS_LENGTH + TOKEN_LENGTH);
  bytes.writeUInt32BE(flags, 0);
  if (token !== 0n) bytes.writeBigUInt64BE(token, FLAGS_LENGTH);
  return bytes;
}

export function tokenBytes(token: CasToken): Buffer | string {
  if (token === 0n) return "";
  const bytes = Buffer.alloc(TOKEN_LENGTH);
  bytes.writeBigUInt64BE(token);
  return bytes;
}
