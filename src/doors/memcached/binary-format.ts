import type { ItemResult } from "../../ports/items.js";
import type { Command, Failure } from "./commands.js";
import type { Output } from "./output.js";

/** The packets of the binary protocol: 24 bytes of header, then extras, key and value. */
export const HEADER = 24;
export const REQUEST = 0x80;
const RESPONSE = 0x81;

export const STATUS = {
  ok: 0x00,
  notFound: 0x01,
  exists: 0x02,
  tooLarge: 0x03,
  invalid: 0x04,
  notStored: 0x05,
  notANumber: 0x06,
  authentication: 0x20,
  continue: 0x21,
  unknownCommand: 0x81,
  outOfMemory: 0x82,
  temporary: 0x86,
  internal: 0x84,
} as const;
export type Status = (typeof STATUS)[keyof typeof STATUS];

/** memcached's own words. */
const TEXTS: Partial<Record<Status, string>> = {
  [STATUS.notFound]: "Not found",
  [STATUS.exists]: "Data exists for key.",
  [STATUS.tooLarge]: "Too large.",
  [STATUS.invalid]: "Invalid arguments",
  [STATUS.notStored]: "Not stored.",
  [STATUS.notANumber]: "Non-numeric server-side value for incr or decr",
  [STATUS.authentication]: "Auth failure.",
  [STATUS.unknownCommand]: "Unknown command",
};

/** A request up to its value: where its bytes are is good for as long as it is looked at. */
export interface Request {
  readonly bytes: Buffer;
  readonly opcode: number;
  readonly opaque: number;
  readonly cas: bigint;
  /** Where the extras begin, the key right after them. */
  readonly from: number;
  readonly extras: number;
  readonly key: number;
  /** Bytes of the value, which is not there yet. */
  readonly value: number;
}

/** What to do with the value of a request. */
export interface Body {
  readonly keep: boolean;
  finish(value: Buffer | null): Command;
}

/** What a reply repeats of its request. */
export interface Echo {
  readonly opcode: number;
  /** As it stood in the request: its meaning is the client's. */
  readonly opaque: number;
}

export function header(
  out: Output,
  echo: Echo,
  status: Status,
  cas: bigint,
  extras: number,
  key: number,
  value: number,
): void {
  const [bytes, at] = out.place(HEADER);
  bytes[at] = RESPONSE;
  bytes[at + 1] = echo.opcode;
  bytes.writeUInt16BE(key, at + 2);
  bytes[at + 4] = extras;
  bytes[at + 5] = 0;
  bytes.writeUInt16BE(status, at + 6);
  bytes.writeUInt32BE(extras + key + value, at + 8);
  bytes.writeUInt32BE(echo.opaque, at + 12);
  if (cas === 0n) bytes.fill(0, at + 16, at + 24);
  else bytes.writeBigUInt64BE(cas, at + 16);
}

export function flags(out: Output, flags: number): void {
  const [bytes, at] = out.place(4);
  bytes.writeUInt32BE(flags, at);
}

export function error(out: Output, echo: Echo, status: Status, text = TEXTS[status] ?? ""): void {
  header(out, echo, status, 0n, 0, 0, text.length);
  out.text(text);
}

export function failure(out: Output, echo: Echo, { kind, code }: Failure): void {
  switch (kind) {
    case "too-large":
      error(out, echo, STATUS.tooLarge);
      return;
    case "memory":
      error(out, echo, STATUS.outOfMemory, "Out of memory allocating item");
      return;
    case "key":
      error(out, echo, STATUS.invalid);
      return;
    case "later":
      error(out, echo, STATUS.temporary, `Temporary failure ${code}`);
      return;
    case "never":
      error(out, echo, STATUS.internal, `Failure ${code}`);
      return;
  }
}

/** How a refusal is told where the verb has no way of its own. */
export const REFUSAL: Record<Exclude<ItemResult["result"], "done">, Status> = {
  absent: STATUS.notFound,
  present: STATUS.exists,
  changed: STATUS.exists,
  "not-a-number": STATUS.notANumber,
};
