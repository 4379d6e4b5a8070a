/** What `within` gives for a promise that took too long. */
export const LATE = Symbol("late");

/** What a timer of Node's can count. */
const LONGEST = 2 ** 31 - 1;

/** The promise's outcome, or LATE when it takes longer; what it does afterwards is up to whoever still holds it. */
export function within<T>(promise: Promise<T>, milliseconds: number): Promise<T | typeof LATE> {
  // Once for every statement: a race of promises would cost several times as much.
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, Math.min(Math.max(0, milliseconds), LONGEST), LATE);
    // A rejection that comes late concerns nobody any more.
    promise.then(
      (value) => {
        clearTimeout(timer);
        resolve(value);
      },
      (error: unknown) => {
        clearTimeout(timer);
        reject(error);
      },
    );
  });
}
