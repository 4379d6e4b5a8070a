/** Preloaded (`node --import shifted-clock.js?by=MILLISECONDS`) it puts the clock of a process forward, or back. */
const by = Number(new URL(import.meta.url).searchParams.get("by"));
const RealDate = Date;

globalThis.Date = class extends RealDate {
  constructor(...args: []) {
    if (args.length === 0) super(RealDate.now() + by);
    else super(...args);
  }

  static override now(): number {
    return RealDate.now() + by;
  }
} as DateConstructor;
