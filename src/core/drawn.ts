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

/** Where in a list a run of it is taken. */
export type Stretch = "front" | "end" | "anywhere";

/** Where a run of so many of these begins; one from anywhere so that those at the ends are met as often as others. */
export function startOf(stretch: Stretch, of: number, run: number): number {
  if (stretch === "front") return 0;
  const begin = stretch === "end" ? of : Math.floor(Math.random() * (of + run)) - run;
  return Math.max(0, Math.min(begin, of - run));
}
