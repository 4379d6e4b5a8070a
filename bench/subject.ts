/**
 * A process that measures one store: `node subject.js SPEC`. Every store has a process of its own, so that none of them
 * profits or suffers from what another made of the heap and the optimised code. The requests are made in the process
 * that is measured, because any channel would cost more than what it carries; latencies count from when a request was
 * due, so that a process that is held up does not hide what it kept waiting.
 */
import { performance } from "node:perf_hooks";
import type { Answers, Ask, Operation, Paced, Slice, StoreSpec } from "./messages.js";
import { type Payload, payloadOf, sidOf } from "./payload.js";
import { type MeasuredStore, type Opened, openStore } from "./stores.js";

/** Requests under way at most, when they come faster than they are answered. */
const MOST_UNDER_WAY = 4_000;
const FILL_CONCURRENCY = 64;

type Answering = { [V in Exclude<Ask["verb"], "stop">]: (ask: Extract<Ask, { verb: V }>) => Promise<Answers[V]> };

/** Set while a pacing is under way, to what ends it. */
let stop = (): void => {};

function answering(opened: Opened): Answering {
  const { store, routes } = opened;
  return {
    async fill({ sessions, bytes }) {
      let next = 0;
      const lane = async () => {
        while (next < sessions) {
          const n = next++;
          await new Promise<void>((resolve, reject) => {
            store.set(sidOf(n), payloadOf(bytes, n), (error) => (error ? reject(error) : resolve()));
          });
        }
      };
      await Promise.all(Array.from({ length: FILL_CONCURRENCY }, lane));
      return null;
    },
    repeat: (ask) => repeat(store, ask),
    pace: (ask) => pace(store, ask, routes),
    memory: async () => ({ resident: process.memoryUsage().rss, peak: process.resourceUsage().maxRSS * 1024 }),
    async close() {
      await opened.close();
      return null;
    },
  };
}

/** So many requests under way at all times: each begins when one ends. */
function repeat(store: MeasuredStore, ask: Extract<Ask, { verb: "repeat" }>): Promise<Slice> {
  const perform = performing(store, ask.operation, ask);
  const latencies: number[] = [];
  let errors = 0;
  const before = process.cpuUsage();
  const began = performance.now();
  const until = began + ask.milliseconds;
  return new Promise((resolve) => {
    let lanes = ask.concurrency;
    const lane = () => {
      const at = performance.now();
      if (at >= until) {
        if (--lanes === 0) resolve(sliceOf(latencies, errors, (at - began) / 1000, process.cpuUsage(before)));
        return;
      }
      perform((error) => {
        if (error) errors++;
        latencies.push(performance.now() - at);
        lane();
      });
    };
    for (let n = 0; n < ask.concurrency; n++) lane();
  });
}

/** Requests at given times, whether those before were answered or not. */
async function pace(
  store: MeasuredStore,
  ask: Extract<Ask, { verb: "pace" }>,
  routes: readonly number[],
): Promise<Paced> {
  let total = Math.round((ask.rate * ask.milliseconds) / 1000);
  const mix = Object.entries(ask.mix) as [Operation, number][];
  const performs = mix.map(([operation, share]) => ({ share, perform: performing(store, operation, ask) }));
  const draw = () => {
    let left = Math.random();
    for (const { share, perform } of performs) {
      if (left < share) return perform;
      left -= share;
    }
    return performs[0]!.perform;
  };
  const due = new Float64Array(total);
  const latencies = new Float64Array(total);
  const failures: string[] = [];
  let errors = 0;
  let begun = 0;
  let ended = 0;
  const before = process.cpuUsage();
  const epoch = performance.timeOrigin;
  const began = performance.now();
  await new Promise<void>((resolve) => {
    stop = () => {
      total = begun;
      if (ended === total) resolve();
    };
    const begin = (n: number) => {
      const at = began + (n * 1000) / ask.rate;
      due[n] = epoch + at;
      draw()((error) => {
        if (error) {
          errors++;
          if (failures.length < 5) failures.push(error instanceof Error ? error.message : String(error));
        }
        latencies[n] = performance.now() - at;
        if (++ended === total) resolve();
      });
    };
    const tick = () => {
      const now = performance.now();
      while (begun < total && began + (begun * 1000) / ask.rate <= now && begun - ended < MOST_UNDER_WAY)
        begin(begun++);
      if (begun < total) setTimeout(tick, 1);
    };
    tick();
  });
  stop = () => {};
  const seconds = (performance.now() - began) / 1000;
  const answered = latencies.slice(0, total);
  const slice = sliceOf(answered, errors, seconds, process.cpuUsage(before));
  return { ...slice, due: due.slice(0, total), latencies: answered, routes: [...routes], failures };
}

/** One request of a random session, made ready as far as an application would have it. */
function performing(
  store: MeasuredStore,
  operation: Operation,
  { sessions, bytes }: { readonly sessions: number; readonly bytes: number },
): (done: (error?: unknown) => void) => void {
  const below = (count: number) => Math.floor(Math.random() * count);
  // Made anew each time: a million of them at hand would be most of the memory that is measured.
  const anySid = () => sidOf(below(sessions));
  const payloads: Payload[] = Array.from({ length: Math.min(sessions, 200) }, (_, n) => payloadOf(bytes, n));
  const anyPayload = () => payloads[below(payloads.length)]!;
  if (operation === "get") {
    return (done) =>
      store.get(anySid(), (error, found) => done(error ?? (found ? undefined : new Error("a session is not there"))));
  }
  if (operation === "set") return (done) => store.set(anySid(), anyPayload(), done);
  return (done) => store.touch!(anySid(), anyPayload(), done);
}

function sliceOf(
  latencies: ArrayLike<number>,
  errors: number,
  seconds: number,
  processor: { readonly user: number; readonly system: number },
): Slice {
  const sorted = Float64Array.from(latencies).sort();
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  return {
    operations: sorted.length,
    errors,
    seconds,
    processor: processor.user + processor.system,
    p50: at(0.5),
    p95: at(0.95),
    p999: at(0.999),
    slowest: sorted.at(-1) ?? 0,
  };
}

async function main(): Promise<void> {
  const opened = await openStore(JSON.parse(process.argv[2]!) as StoreSpec);
  const answers = answering(opened) as Record<string, (ask: Ask) => Promise<unknown>>;
  process.on("message", (ask: Ask) => {
    if (ask.verb === "stop") return stop();
    answers[ask.verb]!(ask).then(
      (answer) => process.send!({ answer }, () => (ask.verb === "close" ? process.exit(0) : undefined)),
      (error: unknown) => process.send!({ failed: error instanceof Error ? error.message : String(error) }),
    );
  });
  process.on("disconnect", () => process.exit(1));
  process.send!({ ready: true });
}

void main().catch((error: unknown) => {
  process.send!({ failed: error instanceof Error ? error.message : String(error) });
});
