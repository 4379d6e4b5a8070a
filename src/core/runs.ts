/**
 * Whether every server of R is the one that it was: none has restarted, and none has taken over from another. One that
 * joined a Redis Cluster since has lost nothing.
 *
 * @param before the run ids of all, with commas between them, as `facts` tells them
 */
export function isStillThere(before: string, now: string): boolean {
  const there = new Set(now.split(","));
  return before.split(",").every((run) => there.has(run));
}
