import { isLocated, located, placeMark, serverOf } from "../../core/place.js";
import type { Sid } from "../../core/session.js";
import type { CasToken } from "../../ports/items.js";

const FLAGS_LENGTH = 4;
const TOKEN_LENGTH = 8;
const MARK_LENGTH = 3;
const KIND = Buffer.from("value");

/**
 * What item keys hold: flags, then a token if one was given out, both big-endian; nothing where both are usual. In a
 * pool the mark of the server to which the session belongs stands before both, always (see common.lua).
 */
export class ItemKeys {
  readonly usualBytes: Buffer;
  readonly #located: ItemKeys[] = [];
  readonly #markBytes: Buffer;

  /**
   * @param kept whether there are such keys at all
   * @param usual the flags of an item without such a key
   * @param servers of a pool; 0 for none
   * @param mark of the caller's server, where it comes by one
   */
  constructor(
    private readonly kept: boolean,
    private readonly usual: number,
    private readonly servers = 0,
    readonly mark = "",
  ) {
    this.usualBytes = bytesOf(usual, 0n);
    this.#markBytes = Buffer.from(mark);
    if (mark !== "") return;
    for (let n = 0; n < servers; n++) this.#located.push(new ItemKeys(kept, usual, servers, placeMark(n)));
  }

  /** The same for who comes by the server of this sid. */
  at(sid: Sid): ItemKeys {
    if (this.#located.length === 0) return this;
    return this.#located[serverOf(sid) ?? -1] ?? this;
  }

  /** The kind of a session as the scripts take it: the word, and what the item key is to hold. */
  kindOf(flags: number, token: CasToken): Buffer | string {
    if (!this.kept) return "value";
    const usual = flags === this.usual && token === 0n;
    if (usual && this.mark === "") return "value";
    return Buffer.concat([KIND, this.#markBytes, usual ? NOTHING : bytesOf(flags, token)]);
  }

  flagsIn(kept: Buffer | null | undefined): number {
    const bytes = this.#behindMark(kept);
    return bytes && (bytes.length === FLAGS_LENGTH || bytes.length === FLAGS_LENGTH + TOKEN_LENGTH)
      ? bytes.readUInt32BE(0)
      : this.usual;
  }

  tokenIn(kept: Buffer | null | undefined): CasToken {
    const bytes = this.#behindMark(kept);
    return bytes?.length === FLAGS_LENGTH + TOKEN_LENGTH ? bytes.readBigUInt64BE(FLAGS_LENGTH) : 0n;
  }

  /** Whether the session belongs to another server than the caller's. */
  isElsewhere(kept: Buffer | null | undefined): boolean {
    const mark = this.mark === "" ? "" : this.#markIn(kept);
    return mark !== "" && mark !== this.mark;
  }

  /** A sid without a server, located where the item key tells one. */
  locate(rest: Sid, kept: Buffer | null | undefined): Sid {
    const mark = this.#markIn(kept);
    return mark === "" ? rest : located(serverOf(mark)!, rest);
  }

  #markIn(kept: Buffer | null | undefined): string {
    if (this.servers === 0 || !kept) return "";
    const text = kept.toString("utf8", 0, MARK_LENGTH);
    return text.length === 1 && isLocated(text) ? text : "";
  }

  #behindMark(kept: Buffer | null | undefined): Buffer | null | undefined {
    return this.#markIn(kept) === "" ? kept : kept!.subarray(MARK_LENGTH);
  }
}

const NOTHING = Buffer.alloc(0);

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
