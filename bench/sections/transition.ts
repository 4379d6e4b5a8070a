import { setTimeout as sleep } from "node:timers/promises";
import type { Measure } from "../goals.js";
import type { Paced } from "../messages.js";
import { sessionferry } from "../programs.js";
import { figure, type SectionResult } from "../report.js";
import type { Scale } from "../scale.js";
import type { Stage } from "../stage.js";
import { quantile, sampleOf } from "../statistics.js";
import { withSubjects } from "../subjects.js";

/**
 * What a visitor notices while the authority moves between PostgreSQL and Redis, up and down again, under load. The
 * same command is also run with --dry-run, which does all but move: the same process starts, the same stores are asked.
 * The seconds compared begin equally long after the start of their command.
 */
const NODES = 2;
const SESSIONS = 5_000;
const BYTES = 1_000;
const MIX = { get: 0.7, set: 0.2, touch: 0.1 } as const;
/** Before the command and after it, in milliseconds. */
const LEAD = 700;
/** The load under one command at most, and under a dry run at least. */
const LONGEST = 120_000;
const COMPARED = 3_000;
/** Before the first new routes of a node and after its last, in milliseconds. */
const MARGIN = 250;

interface Observed {
  readonly slowest: number;
  readonly p999: number;
  readonly requests: number;
}

interface Walk {
  readonly paced: readonly Paced[];
  /** When the command was started, and when it had ended; milliseconds since the epoch. */
  readonly from: number;
  readonly to: number;
}

export async function transition(stage: Stage, scale: Scale, tell: (line: string) => void): Promise<SectionResult> {
  const { rounds, rate } = scale.transition;
  const settings = stage.settings("transition", "postgres");
  await stage.table((settings.legacy as { table: string }).table);
  const visitor = await stage.migration(settings, "read-through");
  const folder = await stage.folder(settings);
  const name = "node";
  const spec = { kind: "ferry", config: settings, phase: "read-through" } as const;
  const reason = ["--reason", "bench"];
  const up = ["phase", "advance", "--to", "redis-first", "--force", ...reason];
  const down = ["phase", "rollback", "--to", "read-through", ...reason];

  const moved: Record<"up" | "down", Observed[]> = { up: [], down: [] };
  const quiet: Record<"up" | "down", Observed[]> = { up: [], down: [] };
  let failed = 0;
  await withSubjects(
    Array.from({ length: NODES }, () => ({ name, spec })),
    async (subjects) => {
      await subjects[0]!.ask({ verb: "fill", sessions: SESSIONS, bytes: BYTES });
      const ask = { verb: "pace", mix: MIX, rate: rate / NODES, sessions: SESSIONS, bytes: BYTES } as const;
      // The load lasts as long as the command, and as long as it is told to at least.
      const walk = async (words: readonly string[], least = 0): Promise<Walk> => {
        const pacing = subjects.map((subject) => subject.ask<"pace">({ ...ask, milliseconds: LONGEST }));
        await sleep(LEAD);
        const from = Date.now();
        await sessionferry(folder, words);
        const to = Date.now();
        await sleep(Math.max(LEAD, from + least - to));
        for (const subject of subjects) subject.stop();
        const paced = await Promise.all(pacing);
        failed += paced.reduce((sum, { errors }) => sum + errors, 0);
        return { paced, from, to };
      };
      await walk([...up, "--dry-run"]);
      for (let round = 1; round <= rounds; round++) {
        for (const [direction, words] of [["up", up] as const, ["down", down] as const]) {
          // The dry run first, since it is about the same step; repeated where it was too short to be compared.
          let still = await walk([...words, "--dry-run"], COMPARED);
          const moving = await walk(words);
          const span = spanOf(moving);
          if (span[1] > COMPARED) still = await walk([...words, "--dry-run"], span[1] + LEAD);
          moved[direction].push(observe(moving, span));
          quiet[direction].push(observe(still, span));
        }
        tell(`transition: round ${round} of ${rounds}`);
      }
    },
  );
  const { position } = await visitor.control.read();
  if (position.phase !== "read-through") throw new Error("the transition did not end where it began");

  const slower = (direction: "up" | "down", of: "slowest" | "p999") =>
    sampleOf(moved[direction].map((seen, i) => seen[of] - quiet[direction][i]![of]));
  const measures: Measure[] = (["up", "down"] as const).map((direction) => ({
    id: `transition/slower/${direction}`,
    unit: "ms",
    sample: slower(direction, "slowest"),
  }));
  measures.push({ id: "transition/failed", unit: "requests", sample: sampleOf([failed]) });
  const row = (what: string, seen: readonly Observed[]) => [
    what,
    figure(sampleOf(seen.map(({ requests }) => requests)).median),
    figure(sampleOf(seen.map(({ p999 }) => p999)).median),
    figure(sampleOf(seen.map(({ slowest }) => slowest)).median),
    figure(Math.max(...seen.map(({ slowest }) => slowest))),
  ];
  return {
    section: "transition",
    tables: [
      {
        title: `read-through and redis-first, ${rate} requests/s (70 % get, 20 % set, 10 % touch) at ${NODES} nodes; medians over ${rounds} rounds`,
        columns: ["while", "requests", "p99.9 ms", "slowest ms", "slowest of all ms"],
        rows: [
          row("the authority moves to Redis", moved.up),
          row("the same span of a dry run", quiet.up),
          row("it moves back", moved.down),
          row("the same span of a dry run", quiet.down),
        ],
      },
    ],
    measures,
    notes: [
      `${failed} requests failed.`,
      "A span reaches from just before the first new routes of a node to just after the last; the dry run's begins equally long after its command.",
    ],
  };
}

/** Milliseconds after the start of the command. */
type Span = readonly [from: number, to: number];

function spanOf({ paced, from, to }: Walk): Span {
  const changes = paced.flatMap(({ routes }) => routes).filter((at) => at >= from && at <= to + LEAD);
  if (changes.length === 0) throw new Error("no node took new routes");
  return [Math.min(...changes) - from - MARGIN, Math.max(...changes) - from + MARGIN];
}

function observe({ paced, from }: Walk, span: Span): Observed {
  const seen = paced.flatMap(({ due, latencies }) =>
    [...latencies].filter((_, i) => due[i]! >= from + span[0] && due[i]! <= from + span[1]),
  );
  seen.sort((a, b) => a - b);
  if (seen.length === 0) throw new Error("the load ended before the transition");
  return { slowest: seen.at(-1)!, p999: quantile(seen, 0.999), requests: seen.length };
}
