/**
 * Numbers as memcached reads them: strtol, strtoul and strtoull of the C library on one word. White space other than the
 * blank may stand before, a sign too, and after the digits nothing but white space. What does not fit 64 bits is
 * refused; what does is cut to the width of its field, so that flags of 4294967296 are 0.
 */
const MINUS = 45;
const PLUS = 43;
const ZERO = 48;
/** So many digits a double holds exactly. */
const EXACT = 15;
const I64_MAX = (1n << 63n) - 1n;
const U64_MAX = (1n << 64n) - 1n;

const isSpace = (byte: number) => byte >= 9 && byte <= 13;

/** A signed number, cut to 32 bits; NaN where there is none. */
export function int32(bytes: Buffer, from: number, to: number): number {
  const small = short(bytes, from, to);
  if (!Number.isNaN(small)) return small | 0;
  const big = long(bytes, from, to);
  if (big === null || big > I64_MAX || big < -I64_MAX - 1n) return Number.NaN;
  return Number(BigInt.asIntN(32, big));
}

/** An unsigned number, cut to 32 bits; NaN where there is none. */
export function uint32(bytes: Buffer, from: number, to: number): number {
  const small = short(bytes, from, to);
  if (small >= 0) return small >>> 0;
  const big = uint64(bytes, from, to);
  return big === null ? Number.NaN : Number(BigInt.asUintN(32, big));
}

/** An unsigned 64-bit number; null where there is none. */
export function uint64(bytes: Buffer, from: number, to: number): bigint | null {
  const small = short(bytes, from, to);
  if (small >= 0) return BigInt(small);
  const big = long(bytes, from, to);
  if (big === null || big > U64_MAX || big < -U64_MAX) return null;
  // A negative number is wrapped around, and refused only where the result looks negative again.
  const wrapped = BigInt.asUintN(64, big);
  return big < 0n && wrapped > I64_MAX ? null : wrapped;
}

/** The common case, without making a string: NaN where it is not one. */
function short(bytes: Buffer, from: number, to: number): number {
  let at = from;
  const negative = bytes[at] === MINUS;
  if (negative) at++;
  if (at === to || to - at > EXACT) return Number.NaN;
  let value = 0;
  for (; at < to; at++) {
    const digit = bytes[at]! - ZERO;
    if (digit < 0 || digit > 9) return Number.NaN;
    value = value * 10 + digit;
  }
  return negative ? -value : value;
}

function long(bytes: Buffer, from: number, to: number): bigint | null {
  let at = from;
  while (at < to && isSpace(bytes[at]!)) at++;
  const negative = bytes[at] === MINUS;
  if (negative || bytes[at] === PLUS) at++;
  const first = at;
  while (at < to && bytes[at]! >= ZERO && bytes[at]! <= ZERO + 9) at++;
  if (at === first || (at < to && !isSpace(bytes[at]!))) return null;
  const magnitude = BigInt(bytes.toString("latin1", first, at));
  return negative ? -magnitude : magnitude;
}
