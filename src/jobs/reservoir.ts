/** A uniform random sample of a stream of unknown length, in memory of its own size. */
export class Reservoir<T> {
  readonly #kept: T[] = [];
  #seen = 0;

  constructor(readonly size: number) {}

  add(item: T): void {
    this.#seen++;
    if (this.#kept.length < this.size) {
      this.#kept.push(item);
      return;
    }
    const at = Math.floor(Math.random() * this.#seen);
    if (at < this.size) this.#kept[at] = item;
  }

  get items(): readonly T[] {
    return this.#kept;
  }
}
