/** Requests of the binary protocol, as scripts write them. */
export interface Packet {
  readonly opcode: number;
  readonly key?: string;
  readonly extras?: Buffer;
  readonly value?: string | Buffer;
  readonly cas?: bigint;
  readonly opaque?: number;
  /** What the header says, where it is to lie. */
  readonly lie?: { readonly magic?: number; readonly key?: number; readonly extras?: number; readonly body?: number };
}

export function packet({ opcode, key = "", extras, value = "", cas = 0n, opaque = 0, lie = {} }: Packet): Buffer {
  const keyBytes = Buffer.from(key, "latin1");
  const extraBytes = extras ?? Buffer.alloc(0);
  const valueBytes = typeof value === "string" ? Buffer.from(value, "latin1") : value;
  const header = Buffer.alloc(24);
  header[0] = lie.magic ?? 0x80;
  header[1] = opcode;
  header.writeUInt16BE(lie.key ?? keyBytes.length, 2);
  header[4] = lie.extras ?? extraBytes.length;
  header.writeUInt32BE(lie.body ?? extraBytes.length + keyBytes.length + valueBytes.length, 8);
  header.writeUInt32BE(opaque, 12);
  header.writeBigUInt64BE(cas, 16);
  return Buffer.concat([header, extraBytes, keyBytes, valueBytes]);
}

export const u32 = (...numbers: number[]): Buffer => {
  const bytes = Buffer.alloc(numbers.length * 4);
  for (const [n, number] of numbers.entries()) bytes.writeUInt32BE(number >>> 0, n * 4);
  return bytes;
};

/** Extras of INCREMENT and DECREMENT. */
export const counting = (by: bigint, initial: bigint, exptime: number): Buffer => {
  const bytes = Buffer.alloc(20);
  bytes.writeBigUInt64BE(by, 0);
  bytes.writeBigUInt64BE(initial, 8);
  bytes.writeUInt32BE(exptime >>> 0, 16);
  return bytes;
};

/** The last packet of a script: its reply ends the transcript. */
export const LAST = packet({ opcode: 0x0a, opaque: 0xfeedface });
export const LAST_REPLY = Buffer.from("feedface0000000000000000", "hex").toString("latin1");
