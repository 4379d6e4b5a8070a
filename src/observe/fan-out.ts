import type { Observer } from "../ports/observer.js";

/** One observer for several; points of the protocol are held by the first that knows them. */
export function fanOut(...observers: readonly Observer[]): Observer {
  const holder = observers.find((observer) => observer.at !== undefined);
  return {
    event: (event) => {
      for (const observer of observers) {
        try {
          observer.event(event);
        } catch {
          // Whoever looks on has no part in what is done: a request must not wait for ever because of him.
        }
      }
    },
    ...(holder && { at: (point, sid) => holder.at?.(point, sid) }),
  };
}
