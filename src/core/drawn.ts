/** So many of these at most, drawn at random and in random order; all of them unless said. */
export function drawn<T>(from: Iterable<T>, most = Number.POSITIVE_INFINITY): T[] {
  const items = [...from];
  const count = Math.min(most, items.length);
  for (let i = 0; i < count; i++) {
    const at = i + Math.floor(Math.random() * (items.length - i));
    [items[i], items[at]] = [items[at]!, items[i]!];
  }
  items.length = count;
  return items;
}
