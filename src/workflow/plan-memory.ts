/**
 * What Redis' memory is spent on, as its allocator hands it out: jemalloc gives every piece of memory the next larger
 * of its size classes, so that the sum of the pieces, and not the sum of the bytes, is what `used_memory` tells. These
 * are the structures of Redis 7.0 (later releases spend a little less on the same), with the classes of a jemalloc
 * whose quantum is 16 bytes, as the packages of Debian and Ubuntu have it. (Redis' own build has a few finer classes
 * below 64 bytes.)
 */
const QUANTUM = 16;
const LINEAR_UP_TO = 128;
/** Above it, each doubling has four classes. */
const STEPS = 8;

/** An entry of a dictionary: pointers to key and value, and to the next one. */
const DICT_ENTRY = 24;
const OBJECT = 16;
const POINTER = 8;
/** A value this short lies in one piece with its object. */
const EMBEDDED_UP_TO = 44;
/** The smallest table of a dictionary. */
const FEWEST_SLOTS = 4;

/** Bytes that jemalloc gives for so many. */
export function allocated(bytes: number): number {
  if (bytes <= LINEAR_UP_TO) return Math.max(1, Math.ceil(bytes / QUANTUM)) * QUANTUM;
  const step = 2 ** Math.ceil(Math.log2(bytes)) / STEPS;
  return Math.ceil(bytes / step) * step;
}

/** A string of Redis: its length and a closing zero stand around its bytes. */
function text(bytes: number): number {
  const header = bytes < 32 ? 1 : bytes < 256 ? 3 : bytes < 65_536 ? 5 : 9;
  return allocated(header + bytes + 1);
}

/** A key that holds a string and has a lifetime, its two dictionaries' slots apart. */
export function keyWithLifetime(keyBytes: number, valueBytes: number): number {
  const value =
    valueBytes <= EMBEDDED_UP_TO ? allocated(OBJECT + 4 + valueBytes) : allocated(OBJECT) + text(valueBytes);
  return text(keyBytes) + value + 2 * allocated(DICT_ENTRY);
}

/** The slots of the two dictionaries (keys and lifetimes) that hold so many keys. */
export function dictionaries(keys: number): { readonly settled: number; readonly growing: number } {
  const slots = 2 ** Math.ceil(Math.log2(Math.max(FEWEST_SLOTS, keys)));
  const settled = 2 * slots * POINTER;
  // While a dictionary grows, the table of half the size is still there.
  return { settled, growing: settled * 1.5 };
}
