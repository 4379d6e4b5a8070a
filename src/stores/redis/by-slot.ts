/** The places of these items by what each is of (a slot, a server); in the order of the items. */
export function placesBy<T, K>(items: readonly T[], keyOf: (item: T) => K): Map<K, number[]> {
  const places = new Map<K, number[]>();
  items.forEach((item, place) => {
    const key = keyOf(item);
    const there = places.get(key);
    if (there === undefined) places.set(key, [place]);
    else there.push(place);
  });
  return places;
}
