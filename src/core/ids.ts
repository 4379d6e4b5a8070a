import { randomBytes } from "node:crypto";

const ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz";
const NODE_LENGTH = 8;
const COUNT_LENGTH = 10;

/** Every intent id and nonce has this length, so that the scripts compare ids at aligned offsets. */
export const ID_LENGTH = NODE_LENGTH + COUNT_LENGTH;

/** A node's name: 8 characters of [0-9a-z], drawn anew by every process (41 random bits). */
export function newNodeId(): string {
  let id = "";
  while (id.length < NODE_LENGTH) {
    for (const byte of randomBytes(16)) {
      if (byte < 252 && id.length < NODE_LENGTH) id += ALPHABET[byte % 36];
    }
  }
  return id;
}

/** The node that made an intent id or nonce. */
export function nodeOf(id: string): string {
  return id.slice(0, NODE_LENGTH);
}

/**
 * Makes intent ids and nonces. The protocol compares them for equality only, so uniqueness is all they need: the
 * node's random name followed by a counter costs nothing on the hot path and tells the sweeper whose intent it is.
 */
export class IdSource {
  #count = 0;
  constructor(readonly node: string) {
    if (node.length !== NODE_LENGTH) throw new RangeError(`a node id has ${NODE_LENGTH} characters`);
  }
  next(): string {
    return this.node + (this.#count++).toString(36).padStart(COUNT_LENGTH, "0");
  }
}

/** A generation of R: 16 random hexadecimal digits, compared for equality only. */
export function newGeneration(): string {
  return randomBytes(8).toString("hex");
}

const TOKENS_AT_ONCE = 512;
let chance = Buffer.alloc(0);
let drawn = 0;

/**
 * Clients that read the number as a signed one stop at 2^63 - 1: spymemcached's text protocol gives the connection up
 * on a larger one, PHP makes it a float. So it is the bit below the highest that tells whose a token is, and no token
 * has more than the 19 digits for which libmemcached's text protocol has room.
 */
const MARK = 1n << 62n;

/** A token that R gives out for an item: 62 bits of chance below the mark. */
export function newToken(): bigint {
  if (drawn === chance.length) {
    chance = randomBytes(8 * TOKENS_AT_ONCE);
    drawn = 0;
  }
  const token = MARK | BigInt.asUintN(62, chance.readBigUInt64BE(drawn));
  drawn += 8;
  return token;
}
