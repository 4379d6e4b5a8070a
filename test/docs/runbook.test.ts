import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "../support/processes.js";
import { commandsOf } from "./commands.js";
import { sectionsOf } from "./sections.js";
import { documentOf, perform, type Scenes, Stage } from "./stage.js";

let stage: Stage;
beforeAll(async () => {
  stage = await Stage.open();
  // The README's own configuration and application.
  for (const { command } of commandsOf(documentOf("README.md"))) {
    if (/^cat > (sessionferry\.yaml|app\.mjs) /.test(command)) await stage.must(command);
  }
  await stage.must("sessionferry setup");
  await stage.startApplications(2);
});
afterAll(() => stage?.close());

const advance = (to: string, percent = 100) => `sessionferry phase advance --to ${to} --percent ${percent}`;

/** Asked of the control store itself: a command for it would cost the tests a second each time. */
async function position(stage: Stage): Promise<{ phase: string; percent: number }> {
  const [row] = await stage.sql("SELECT phase, percent FROM sessionferry.control_record");
  return row as { phase: string; percent: number };
}

/** Up from wherever it stands, as far as the scene needs; what stands there already costs nothing. */
async function climb(stage: Stage, to: "dual-write" | "read-through" | "redis-first" | "full-redis"): Promise<void> {
  const { phase, percent } = await position(stage);
  const way = ["legacy", "dual-write", "read-through", "redis-first", "full-redis"];
  if (percent !== 100) await stage.must(advance(phase));
  for (const next of way.slice(way.indexOf(phase) + 1, way.indexOf(to) + 1)) {
    const { exit } = await stage.run(advance(next));
    if (exit === 0) continue;
    await stage.must("sessionferry backfill");
    await stage.must("sessionferry check");
    await stage.must(advance(next));
  }
}

async function mirrorIsHealthy(stage: Stage): Promise<void> {
  await until("Redis is sealed anew and every process sees it", async () => {
    const { mirror, pending } = (await stage.document("sessionferry status --json")) as {
      mirror: { healthy: boolean };
      pending: unknown;
    };
    return mirror.healthy && pending === null;
  });
}

const SCENES: Scenes = {
  "If it burns now": (stage) => climb(stage, "read-through"),
  "dual-write": async (stage) => expect(await position(stage)).toEqual({ phase: "dual-write", percent: 100 }),
  "read-through": (stage) => climb(stage, "read-through"),
  "redis-first": (stage) => climb(stage, "redis-first"),
  "full-redis": (stage) => climb(stage, "full-redis"),
  "Pending transitions": async (stage) => {
    const [slow] = stage.applications;
    slow!.process.kill("SIGSTOP");
    await stage.must(`${advance("read-through", 50)} --timeout 500ms`, 6);
    slow!.process.kill("SIGCONT");
  },
  "Redis came back empty": async (stage) => {
    await climb(stage, "redis-first");
    const redis = new Redis(stage.redis.url);
    await redis.flushall();
    await redis.quit();
    // "Look, then leave it behind": whoever looks is told.
    await until("the processes notice", async () => {
      const { mirror } = (await stage.document("sessionferry status --json")) as { mirror: { withoutRedis: number } };
      return mirror.withoutRedis === 2;
    });
  },
  "Redis restarted with its data": async (stage) => {
    await climb(stage, "redis-first");
    await stage.redis.restart();
    await mirrorIsHealthy(stage);
  },
  "Control store": async (stage) => {
    stage.environment.SESSIONFERRY_CONTROL_URL = "postgres://postgres@127.0.0.1:9/postgres";
  },
  "A process is dead or frozen": async (stage) => {
    await stage.startApplications(2);
    const { nodes } = (await stage.document("sessionferry nodes --json")) as { nodes: { id: string; pid: number }[] };
    const [dead] = stage.applications.splice(0, 1);
    dead!.process.kill("SIGKILL");
    stage.environment.NODE = nodes.find(({ pid }) => pid === dead!.process.pid)!.id;
  },
  "The stores differ": async (stage) => {
    // Somebody writes behind the library's back, where Redis is the authority.
    await climb(stage, "redis-first");
    await stage.sql("UPDATE session SET sess = '{\"cookie\":{}}' WHERE sid = 'session-9'");
    await stage.must("sessionferry check", 4);
  },
  "Giving the migration up": async (stage) => {
    await stage.startApplications(1);
    await stage.must("sessionferry cleanup --yes", 3);
    await stage.stopApplications();
  },
  "After complete": async (stage) => {
    await stage.must("sessionferry setup");
    await stage.startApplications(2);
    await climb(stage, "full-redis");
    await stage.must("sessionferry check");
    await stage.must("sessionferry phase advance --to complete --yes --force --reason test");
  },
};

/** By section and command: what has happened by then. */
const MEANWHILE: Scenes = {
  'Control store: sessionferry phase rollback --to dual-write --reason "the control store was restored"': async (
    stage,
  ) => {
    delete stage.environment.SESSIONFERRY_CONTROL_URL;
    await stage.stopApplications();
  },
  "Redis came back empty: sessionferry backfill": mirrorIsHealthy,
  'Redeploying the old build: sessionferry phase rollback --to dual-write --redis-lost --reason "the old build stays"':
    async (stage) => {
      await climb(stage, "redis-first");
      await stage.stopApplications();
    },
};

test("every command of the runbook does what it promises, in its order", { timeout: 480_000 }, async () => {
  writeFileSync(join(stage.folder, "id.txt"), "s:session-1.signature\n");
  const sections = sectionsOf(documentOf("RUNBOOK.md"));
  const count = await perform("RUNBOOK.md", sections, stage, SCENES, MEANWHILE);
  expect(count).toBeGreaterThan(40);
  // Every scene belongs to a section that has commands.
  const headings = sections.filter(({ commands }) => commands.length > 0).map(({ heading }) => heading);
  expect(Object.keys(SCENES).filter((heading) => !headings.includes(heading))).toEqual([]);
  const shown = sections.flatMap(({ heading, commands }) => commands.map(({ command }) => `${heading}: ${command}`));
  expect(Object.keys(MEANWHILE).filter((one) => !shown.includes(one))).toEqual([]);
});
