import { spawn } from "node:child_process";
import { readFileSync, symlinkSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadConfig } from "../../src/config.js";
import { openControl } from "../../src/control/index.js";
import { NO_COUNTS } from "../../src/core/backfill-state.js";
import { PROTOCOL_NUMBER } from "../../src/ports/control-store.js";
import { FerryNode } from "../../src/runtime/node.js";
import { FaultyLink } from "../support/faulty-link.js";
import { openStage, run, runError, runJson, type Stage, seedSessions } from "./support.js";

/** One migration after the other over the same servers: from legacy to complete, and back again, by commands alone. */
let stage: Stage;
let sids: string[];
let app: FerryNode;
let options: string[];

beforeAll(async () => {
  stage = await openStage();
  sids = await seedSessions(stage.sql, 300);
  const gates = { minStay: { "full-redis": 0 }, maxP95: "1m", maxErrorRate: 1 };
  const path = stage.configure("path", { gates });
  options = ["--config", path];
  await runJson("setup", ["setup", ...options]);
  app = await FerryNode.open(loadConfig({ config: path, env: {} }), { role: "app" });
});
afterAll(async () => {
  await app?.close();
  await stage?.close();
});

const advance = (to: string, ...more: string[]) =>
  runJson("phase-move", ["phase", "advance", "--to", to, ...more, ...options]);
const session = () => ({ value: Buffer.from('{"cookie":{},"cart":[7]}'), flags: 0, expiresAt: Date.now() + 3_600_000 });

describe("from legacy to complete", () => {
  it("shows the node", async () => {
    const { nodes } = await runJson("nodes", ["nodes", ...options]);
    expect(nodes).toMatchObject([{ id: app.id, role: "app", host: hostname(), pid: process.pid, acknowledged: true }]);
    expect((await run(["nodes", ...options])).stdout).toContain(app.id);
  });

  it("enters dual-write, and repeating the command changes nothing", async () => {
    expect(await runError(["backfill", ...options])).toMatchObject({ exit: 3, code: "GUARD_REFUSED" });
    expect(await runError(["backfill", "--dry-run", ...options])).toMatchObject({ exit: 3, code: "GUARD_REFUSED" });
    expect(await runError(["check", ...options])).toMatchObject({ exit: 3, code: "GUARD_REFUSED" });
    const moved = await advance("dual-write");
    expect(moved).toMatchObject({ moved: true, to: { phase: "dual-write", percent: 10 } });
    expect(moved.next).toBe("sessionferry phase advance --to dual-write --percent 100");
    expect(await advance("dual-write")).toMatchObject({ moved: false, revision: moved.revision });
    expect(await advance("dual-write", "--percent", "100")).toMatchObject({ moved: true });
  });

  it("refuses read-through without evidence, and names what provides it", async () => {
    const refused = await runError(["phase", "advance", "--to", "read-through", ...options]);
    expect(refused).toMatchObject({ exit: 3, code: "GATE_REFUSED", changed: "nothing", next: "sessionferry backfill" });
    expect(refused.message).toContain("sessionferry check");
    const planned = await runJson("phase-move", ["phase", "advance", "--to", "read-through", "--dry-run", ...options], {
      code: 3,
    });
    expect(planned).toMatchObject({ refused: true, moved: false });
    const status = await runJson("status", ["status", ...options]);
    expect(status.advice.command).toBe("sessionferry backfill");
    expect(await runError(["phase", "advance", "--to", "redis-first", ...options])).toMatchObject({
      exit: 2,
      next: "sessionferry phase advance --to read-through",
    });
  });

  it("counts, copies and compares", async () => {
    const counted = await runJson("backfill", ["backfill", "--dry-run", ...options]);
    expect(counted).toMatchObject({ wouldCopy: 300, byPhase: { "dual-write": 300 } });
    const copied = await runJson("backfill", ["backfill", ...options]);
    expect(copied.result).toMatchObject({ state: "complete", done: 300, counts: { copied: 300, failed: 0 } });
    const status = await runJson("backfill-status", ["backfill", "status", ...options]);
    expect(status).toMatchObject({ state: "complete", alive: false });
    expect(await runJson("backfill-wish", ["backfill", "stop", ...options])).toMatchObject({ asked: null });
    expect(await runError(["backfill", "pause", ...options])).toMatchObject({ exit: 3 });

    const report = join(stage.folder, "report.md");
    const checked = await runJson("check", ["check", "--report", report, ...options]);
    expect(checked).toMatchObject({ clean: true, evidence: true, planted: { planted: 5, found: 5 } });
    const text = readFileSync(report, "utf8");
    expect(text).toContain("CLEAN");
    for (const sid of sids) expect(text).not.toContain(sid);
    expect(await runJson("check", ["check", "show", ...options])).toMatchObject({ id: checked.id });
    expect((await run(["check", "show", checked.id, ...options])).stdout).toContain(checked.id);
    expect(await runError(["check", "show", "20200101-000000-000-none", ...options])).toMatchObject({ exit: 2 });
  });

  it("tells what a check found though its report cannot be written any more", async () => {
    const report = join(stage.folder, "full.json");
    symlinkSync("/dev/full", report);
    const { code, stdout, stderr } = await run(["check", "--json", "--report", report, ...options]);
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr: expect.stringContaining(`warning: the report cannot be written to ${report} (ENOSPC)`),
    });
    expect(JSON.parse(stdout)).toMatchObject({ clean: true, evidence: true });
  });

  it("shows one session without its id and its value", async () => {
    const [sid] = sids as [string];
    const shown = await runJson("session-show", ["session", "show", ...options], { stdin: `${sid}\n` });
    expect(shown).toMatchObject({ phase: "dual-write", authority: "legacy", equal: true, mark: "none" });
    const cookie = await runJson("session-show", ["session", "show", ...options], { stdin: `s:${sid}.c2lnbmF0dXJl\n` });
    expect(cookie.digest).toBe(shown.digest);
    const { stdout } = await run(["session", "show", ...options], { stdin: `${sid}\n` });
    expect(stdout).toContain(shown.digest);
    for (const secret of [sid, "cart", "cookie"]) expect(stdout).not.toContain(secret);
    expect(await runError(["session", "show", ...options], { stdin: "" })).toMatchObject({ exit: 2 });
  });

  it("finds differences, exits 4, repairs them", async () => {
    const [sid] = sids as [string];
    await stage.keys.set(`sess:${sid}`, '{"cookie":{},"cart":"tampered"}', "KEEPTTL");
    const found = await runJson("check", ["check", ...options], { code: 4 });
    expect(found).toMatchObject({ clean: false, counts: { mismatched: 1 } });
    const shown = await runJson("session-show", ["session", "show", ...options], { stdin: `${sid}\n` });
    expect(shown).toMatchObject({ equal: false, differences: ["value"] });
    expect(found.examples.mismatched?.map(({ digest }) => digest)).toEqual([shown.digest]);
    expect(await runError(["phase", "advance", "--to", "read-through", ...options])).toMatchObject({ exit: 3 });
    // Looking alone repairs nothing.
    await runJson("check", ["check", "--repair", "--dry-run", ...options], { code: 4 });
    expect(await runJson("check", ["check", "--repair", ...options])).toMatchObject({ clean: true, evidence: true });
  });

  it("goes on to redis-first, where Redis is the authority", async () => {
    const planned = await runJson("phase-move", ["phase", "advance", "--to", "read-through", "--dry-run", ...options]);
    expect(planned).toMatchObject({ refused: false, moved: false });
    expect(planned.plan.at(-1)).toBe("record the new position");
    await advance("read-through", "--percent", "100");
    await advance("redis-first", "--percent", "100");
    await app.ferry.set("sid-new-in-redis", session());
    const shown = await runJson("session-show", ["session", "show", ...options], { stdin: "sid-new-in-redis" });
    expect(shown).toMatchObject({ authority: "redis", redis: { present: true } });
  });

  it("goes back and forth", async () => {
    const planned = await runJson("phase-move", ["phase", "rollback", "--dry-run", ...options]);
    expect(planned).toMatchObject({ to: { phase: "read-through", percent: 100 }, moved: false });
    const back = await runJson("phase-move", ["phase", "rollback", "--to", "read-through", ...options]);
    expect(back).toMatchObject({ moved: true, to: { phase: "read-through", percent: 100 } });
    expect(await runJson("phase-move", ["phase", "rollback", "--to", "read-through", ...options])).toMatchObject({
      moved: false,
    });
    const { rows } = await stage.sql.query("SELECT sess->>'cart' AS cart FROM session WHERE sid = 'sid-new-in-redis'");
    expect(rows).toEqual([{ cart: "[7]" }]);
    await advance("redis-first", "--percent", "100");
  });

  it("revokes sessions in both stores", async () => {
    const gone = sids.slice(0, 3);
    const stdin = `${gone.join("\n")}\n\n`;
    expect(await runJson("revoke", ["revoke", "--ids-from", "-", "--dry-run", ...options], { stdin })).toMatchObject({
      read: 3,
      revoked: 0,
    });
    expect(await runJson("revoke", ["revoke", "--ids-from", "-", ...options], { stdin })).toEqual({
      dryRun: false,
      read: 3,
      revoked: 3,
    });
    for (const sid of gone) expect(await app.ferry.get(sid)).toBeNull();
    const { rows } = await stage.sql.query(
      "SELECT count(*)::int AS count FROM session WHERE sid = ANY($1) AND expire > now()",
      [gone],
    );
    expect(rows).toEqual([{ count: 0 }]);
  });

  it("tells what was revoked where the ids cannot be read to their end", async () => {
    const gone = sids.slice(3, 6);
    const stdin = `${gone.join("\n")}\n${"x".repeat(5_000)}\n`;
    const { exit, code, message, changed } = await runError(["revoke", "--ids-from", "-", ...options], { stdin });
    expect({ exit, code, changed }).toEqual({ exit: 2, code: "USAGE", changed: "3 of 3 sessions were destroyed" });
    expect(message).toBe("Line 4 is too long to be a session id.");
    for (const sid of gone) expect(await app.ferry.get(sid)).toBeNull();
    const dry = await runError(["revoke", "--ids-from", "-", "--dry-run", ...options], { stdin });
    expect(dry).toMatchObject({ exit: 2, message, changed: "nothing" });
    const unknown = ["--config", stage.configure("unknown", { migration: "unknown" })];
    for (const line of [
      ["revoke", "--ids-from", "-"],
      ["revoke", "--ids-from", "-", "--dry-run"],
    ])
      expect(await runError([...line, ...unknown], { stdin })).toMatchObject({ exit: 3, code: "NOT_SET_UP" });
  });

  it("asks for the migration's name before complete", async () => {
    await runJson("check", ["check", ...options]);
    await advance("full-redis");
    expect(await runError(["cleanup", ...options])).toMatchObject({ exit: 3, code: "GUARD_REFUSED" });
    await runJson("check", ["check", ...options]);
    const complete = ["phase", "advance", "--to", "complete", ...options];
    expect(await runError(complete)).toMatchObject({ exit: 2, code: "QUESTION_UNANSWERED" });
    expect(await runError(complete, { stdin: "yes\n" })).toMatchObject({ exit: 2 });
    const done = await runJson("phase-move", complete, { stdin: "shop\n" });
    expect(done).toMatchObject({ to: { phase: "complete" }, next: null });
    expect(await runError(["phase", "rollback", ...options])).toMatchObject({ exit: 3, code: "IRREVERSIBLE" });
  });

  it("seals a Redis that lost its data after complete, by the operator's word alone", async () => {
    const lost = ["setup", "--redis-lost", "--reason", "the volume is gone", ...options];
    expect(await runError(["setup", "--redis-lost", ...options])).toMatchObject({ exit: 2, code: "USAGE" });
    expect(await runJson("setup", lost)).toMatchObject({ plan: [] });
    await stage.keys.del("sf:shop:seal");
    // It is held up to its deadline, which may run out first.
    const code = expect.stringMatching(/^(REDIS_LOST|DEADLINE)$/);
    await expect(app.ferry.get(sids[10]!)).rejects.toMatchObject({ code });
    expect(await runError(lost)).toMatchObject({ exit: 3, code: "PREFIX_IN_USE" });
    const adopting = [...lost, "--adopt"];
    expect(await runError(adopting)).toMatchObject({ exit: 2, code: "QUESTION_UNANSWERED" });
    expect(await runJson("setup", [...adopting, "--dry-run"])).toMatchObject({ plan: [{ step: "seal-complete" }] });
    const sealed = await runJson("setup", adopting, { stdin: "shop\n" });
    expect(sealed).toMatchObject({ position: { phase: "complete" }, next: "sessionferry status" });
    expect(await app.ferry.get(sids[10]!)).not.toBeNull();
  });

  it("cleans up, and says what is not ours", async () => {
    const planned = await runJson("cleanup", ["cleanup", ...options]);
    expect(planned).toMatchObject({ dryRun: true });
    expect(planned.left.join(" ")).toContain('DROP TABLE "session"');
    await runJson("cleanup", ["cleanup", "--yes", ...options]);
    expect(await runJson("cleanup", ["cleanup", "--yes", ...options])).toMatchObject({ plan: [] });
    expect(await stage.keys.keys("sf:*")).toEqual(["sf:shop:seal"]);
    const { exit, message } = await runError(["status", ...options]);
    expect({ exit, message }).toEqual({ exit: 3, message: expect.stringContaining("complete and cleaned up") });
    // The sessions live on in Redis alone, also where a process has to connect to it anew.
    expect(await app.ferry.get(sids[10]!)).not.toBeNull();
    await stage.keys.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
    expect(await app.ferry.get(sids[10]!)).not.toBeNull();
  });
});

describe("when something is in the way", () => {
  let path: string;
  let steering: string[];
  beforeAll(async () => {
    await stage.keys.flushall();
    path = stage.configure("second", {
      migration: "second",
      timeouts: { acknowledge: "1s", drain: "2s", legacy: "1s" },
    });
    steering = ["--config", path];
    await runJson("setup", ["setup", ...steering]);
  });

  const control = () => openControl(stage.legacyUrl, { migration: "second", node: "testtest" });
  const registration = {
    role: "app",
    protocol: PROTOCOL_NUMBER,
    host: "elsewhere",
    pid: 4711,
    version: "0.1.0",
  } as const;
  const report = { acknowledged: 0, gap: 0, redis: "up", operations: 0, errors: 0, p95: null, endpoints: [] } as const;

  it("leaves a step pending that a node does not acknowledge, tells so with 6, and finishes it later", async () => {
    const store = await control();
    await store.join({ id: "lazylazy", ...registration }, { presence: 10_000 });
    // It is alive and says nothing.
    const alive = setInterval(
      () => void store.renew("lazylazy", report, { overdueAfter: 60_000 }).catch(() => {}),
      200,
    );
    try {
      const pending = await runError(["phase", "advance", "--to", "dual-write", "--timeout", "800ms", ...steering]);
      expect(pending).toMatchObject({ exit: 6, code: "TRANSITION_PENDING" });
      expect(pending.changed).toContain("recorded and pending");
      const status = await runJson("status", ["status", ...steering]);
      expect(status.pending).toMatchObject({
        direction: "up",
        to: { phase: "dual-write", percent: 10 },
        waitingFor: ["lazylazy"],
      });
      expect(status.advice.command).toBe("sessionferry phase advance --to dual-write");
      expect((await run(["status", ...steering])).stdout).toContain("waiting for lazylazy");
    } finally {
      clearInterval(alive);
    }
    const evicting = ["nodes", "evict", "lazylazy", ...steering];
    expect(await runJson("nodes-evict", [...evicting, "--dry-run"])).toMatchObject({ known: true, evicted: false });
    expect(await runError(evicting)).toMatchObject({ exit: 2, code: "QUESTION_UNANSWERED" });
    expect(await runJson("nodes-evict", [...evicting, "--yes"])).toMatchObject({ evicted: true });
    expect(await runJson("nodes-evict", [...evicting, "--yes"])).toMatchObject({ known: false });
    const finished = await runJson("phase-move", ["phase", "advance", "--to", "dual-write", ...steering]);
    expect(finished).toMatchObject({ moved: true, to: { phase: "dual-write", percent: 10 } });
    await store.close();
  });

  it("takes a wish for the backfill as made, before anything has come of it, and only while somebody is there", async () => {
    const store = await control();
    const at = await store.now();
    const checkpoint = { state: "running", startedAt: at, updatedAt: at, endedAt: null, generation: "none" };
    const figures = { coveredBelow: 0, cursor: null, counts: NO_COUNTS, total: 0, rate: 0 };
    const tell = (updatedAt: number) =>
      store.putDocument("backfill", "current", { ...checkpoint, ...figures, updatedAt });
    await tell(at + 60_000);
    const wish = async (verb: string) => (await runJson("backfill-wish", ["backfill", verb, ...steering])).asked;
    expect(await wish("resume")).toBeNull();
    expect(await wish("pause")).toBe("pause");
    expect(await wish("pause")).toBeNull();
    expect(await wish("resume")).toBe("run");
    await tell(at - 60_000);
    for (const verb of ["resume", "pause", "stop"]) {
      expect(await runError(["backfill", verb, ...steering])).toMatchObject({ exit: 3, code: "GUARD_REFUSED" });
    }
    for (const name of ["current", "wish"]) await store.deleteDocument("backfill", name);
    await store.close();
  });

  it("gives way to another command with 7", async () => {
    const store = await control();
    await store.lock("phase", "somebody", 10_000);
    const held = await runError(["phase", "advance", "--to", "dual-write", "--percent", "100", ...steering]);
    expect(held).toMatchObject({ exit: 7, code: "HELD" });
    await store.unlock("phase", "somebody");
    await store.close();
  });

  it("leaves at Ctrl-C with 130, and says what is pending", async () => {
    const store = await control();
    await store.join({ id: "lazytwo2", ...registration }, { presence: 10_000 });
    const abort = new AbortController();
    const running = runError(
      ["phase", "advance", "--to", "dual-write", "--percent", "100", "--timeout", "30s", ...steering],
      { signal: abort.signal },
    );
    for (;;) {
      if ((await store.read()).pending !== null) break;
      await delay(20);
    }
    abort.abort();
    const { exit, code, changed } = await running;
    expect({ exit, code }).toEqual({ exit: 130, code: "INTERRUPTED" });
    expect(changed).toContain("recorded and pending");
    await store.leave("lazytwo2");
    await runJson("phase-move", ["phase", "rollback", ...steering]);
    const { phase, percent, pending } = await runJson("status", ["status", ...steering]);
    expect({ phase, percent, pending }).toEqual({ phase: "dual-write", percent: 10, pending: null });
    await store.close();
  });

  it("names the way back of a step down that is left pending", async () => {
    const store = await control();
    await runJson("phase-move", ["phase", "advance", "--to", "dual-write", "--percent", "100", ...steering]);
    await store.join({ id: "lazythree", ...registration }, { presence: 10_000 });
    const bare = await runError(["phase", "rollback", ...steering]);
    expect(bare).toMatchObject({ exit: 2, code: "USAGE", next: "sessionferry phase rollback --to legacy" });
    const pending = await runError(["phase", "rollback", "--to", "legacy", "--timeout", "300ms", ...steering]);
    const back = "sessionferry phase advance --to dual-write --percent 100";
    expect(pending).toMatchObject({
      exit: 6,
      remedy: `Repeat the same command to finish the transition, or reverse it with: ${back}`,
    });
    const elsewhere = await runError(["phase", "advance", "--to", "read-through", ...steering]);
    expect(elsewhere).toMatchObject({
      exit: 6,
      remedy: `Finish it with: sessionferry phase rollback, or reverse it with: ${back}`,
    });
    await store.leave("lazythree");
    await runJson("phase-move", [...back.split(" ").slice(1), ...steering]);
    await store.close();
  });

  it("watches until it is told to stop", async () => {
    const abort = new AbortController();
    const running = run(["status", "--watch", "--json", ...steering], { signal: abort.signal });
    await delay(6_000);
    abort.abort();
    const { code, stdout } = await running;
    expect(code).toBe(130);
    const lines = stdout.trim().split("\n");
    expect(lines.length).toBeGreaterThan(1);
    for (const line of lines) expect(JSON.parse(line)).toMatchObject({ migration: "second" });
  });

  it("goes on watching while the control store is away for a moment", async () => {
    const link = await FaultyLink.open({ host: "127.0.0.1", port: stage.postgres.port });
    const control = { url: link.via(stage.legacyUrl) };
    const watched = stage.configure("watched", { migration: "second", control });
    const abort = new AbortController();
    let lines: unknown[] = [];
    const running = run(["status", "--watch", "--json", "--config", watched], {
      signal: abort.signal,
      onStdout: (text) => {
        lines = text
          .trim()
          .split("\n")
          .map((line) => JSON.parse(line));
      },
    });
    const told = () => lines.at(-1);
    await expect.poll(told).toMatchObject({ migration: "second" });
    link.refuse();
    await expect.poll(told).toMatchObject({ error: { code: "CONTROL_UNREACHABLE", changed: "nothing" } });
    link.heal();
    await expect.poll(told).toMatchObject({ migration: "second" });
    abort.abort();
    expect(await running).toMatchObject({ code: 130 });
    await link.close();
    // What does not heal by itself is not waited for.
    const unknown = ["--config", stage.configure("unknown", { migration: "unknown" })];
    expect(await runError(["status", "--watch", ...unknown])).toMatchObject({ exit: 3, code: "NOT_SET_UP" });
  });

  it("leaves at once, as a process, when a store hangs", async () => {
    const main = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
    const child = spawn(process.execPath, [main, "status", "--watch", "--json", ...steering], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    const ended = new Promise((resolve) => child.on("close", resolve));
    await new Promise((resolve) => child.stdout.once("data", resolve));
    stage.postgres.pause();
    try {
      await delay(2_200);
      const asked = Date.now();
      child.kill("SIGINT");
      expect(await ended).toBe(130);
      expect(Date.now() - asked).toBeLessThan(5_000);
    } finally {
      stage.postgres.resume();
    }
  });

  it("leaves a lost Redis behind for dual-write", async () => {
    const serving = await FerryNode.open(loadConfig({ config: steering[1], env: {} }), { role: "app" });
    await runJson("phase-move", ["phase", "advance", "--to", "dual-write", "--percent", "100", ...steering]);
    const nodes = async () => (await runJson("nodes", ["nodes", ...steering])).nodes;
    await expect.poll(nodes, { timeout: 10_000 }).toMatchObject([{ redis: "up" }]);
    const forced = ["--force", "--reason", "a test", ...steering];
    const moved = await runJson("phase-move", [
      "phase",
      "advance",
      "--to",
      "read-through",
      "--percent",
      "100",
      ...forced,
    ]);
    expect(moved).toMatchObject({ forced: true });
    await runJson("phase-move", ["phase", "advance", "--to", "redis-first", "--percent", "100", ...forced]);
    await stage.redis.kill();
    await serving.close();
    const stuck = await runError(["phase", "rollback", "--to", "read-through", ...steering]);
    expect(stuck).toMatchObject({ exit: 6, code: "TRANSITION_PENDING" });
    const lost = [
      "phase",
      "rollback",
      "--to",
      "dual-write",
      "--redis-lost",
      "--reason",
      "its host burnt down",
      ...steering,
    ];
    expect((await runJson("phase-move", [...lost, "--dry-run"])).plan[0]).toContain("trusted no more");
    expect(await runJson("phase-move", lost)).toMatchObject({ to: { phase: "dual-write", percent: 100 } });
    const { entries } = await runJson("phase-history", ["phase", "history", ...steering]);
    expect(entries.find(({ action }) => action === "redis-lost")?.detail).toMatchObject({
      reason: "its host burnt down",
    });
    const status = await runJson("status", ["status", ...steering]);
    expect(status).toMatchObject({ phase: "dual-write", redis: null });
  }, 120_000);
});
