import type { Phases, Transition, WorkName } from "../core/phase.js";

const WORKS: Readonly<Partial<Record<WorkName, string>>> = {
  "drop-records": "remove what Redis holds of these sessions",
  "evidence-stands": "make sure that nothing has voided the evidence meanwhile",
  "fleet-stands": "make sure that an application follows",
  "redis-stands": "make sure that Redis has not restarted with older data",
  "no-intents": "wait until no write is under way",
  "full-copy": "copy every session that Redis lacks",
  "push-missing": "write back what the legacy store has lost",
  "drain-older": "wait until the legacy store has every change that waits for it now",
  "drain-dirty": "wait until every change is in the legacy store",
  "clear-marks": "remove leftover marks, and seal Redis as complete",
};

/** What a transition will do from where it stands, step by step, in the words of `--dry-run`. */
export function planOf({ ladder, rung, direction, buckets }: Transition, phases: Phases): string[] {
  const { ladder: rungs, settle = [] } = phases[ladder];
  const steps: string[] = [];
  const share = `${(buckets[1] - buckets[0]) / 100} % of the sessions`;
  const barrier = (name: string) => steps.push(`wait until every node stands on ${name}`);
  const works = (names: readonly WorkName[] | undefined) => {
    for (const name of names ?? []) steps.push(`${name}${WORKS[name] === undefined ? "" : `: ${WORKS[name]}`}`);
  };
  const publish = (at: number) => {
    const { name, routes } = rungs[at]!;
    steps.push(`publish ${name} for ${share}: writes ${routes.write}, reads ${routes.read}`);
  };
  const step = direction === "up" ? 1 : -1;
  const last = direction === "up" ? rungs.length - 1 : 0;
  for (let at = rung; ; at += step) {
    barrier(rungs[at]!.name);
    if (direction === "down") works(rungs[at]!.leave);
    else works(at === last ? settle : rungs[at + 1]!.enter);
    if (at === last) break;
    publish(at + step);
  }
  steps.push(`record the new position`);
  return steps;
}
