import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadConfig } from "../../src/config.js";
import { openControl } from "../../src/control/index.js";
import { FerryNode } from "../../src/runtime/node.js";
import { openStage, runJson, type Stage, seedSessions } from "./support.js";

const SCRIPT = fileURLToPath(new URL("../../scripts/rollback-on-alarm.sh", import.meta.url));
const MAIN = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));

let stage: Stage;
let app: FerryNode;
let sid: string;
let options: string[];
beforeAll(async () => {
  stage = await openStage();
  [sid] = (await seedSessions(stage.sql, 50)) as [string];
  options = ["--config", stage.configure("alarm", { gates: { maxP95: "1m" } })];
  await runJson("setup", ["setup", ...options]);
  app = await FerryNode.open(loadConfig({ config: options[1], env: {} }), { role: "app" });
});
afterAll(async () => {
  await app?.close();
  await stage?.close();
});

/** As somebody would run it from cron: the built command, and whatever shell is there. */
function watch(onLog: (log: string) => void = () => {}, sample = "50"): Promise<{ code: number | null; log: string }> {
  const child = spawn("sh", [SCRIPT, "--once", "--sample", sample, "--", ...options], {
    env: { ...process.env, SESSIONFERRY: `${process.execPath} ${MAIN}` },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let log = "";
  child.stderr.on("data", (text) => {
    log += text;
    onLog(log);
  });
  return new Promise((resolve) => child.on("close", (code) => resolve({ code, log })));
}

const advance = (to: string) => runJson("phase-move", ["phase", "advance", "--to", to, "--percent", "100", ...options]);

describe("rollback-on-alarm", () => {
  it("has nothing to watch in legacy", async () => {
    const { code, log } = await watch();
    expect({ code, log }).toEqual({ code: 0, log: expect.stringContaining("nothing to watch") });
  });

  it("is content while the stores agree", async () => {
    await advance("dual-write");
    await runJson("backfill", ["backfill", ...options]);
    await runJson("check", ["check", ...options]);
    await advance("read-through");
    expect(await watch()).toMatchObject({ code: 0 });
    expect(await runJson("status", ["status", ...options])).toMatchObject({ phase: "read-through" });
  });

  it("does not call well what no check has looked at", async () => {
    const { code, log } = await watch(() => {}, "99999999");
    expect({ code, log }).toEqual({ code: 2, log: expect.stringContaining("check ended with 2") });
  });

  it("rolls back when they differ, and not below its floor", async () => {
    await stage.keys.set(`sess:${sid}`, '{"cookie":{},"cart":"tampered"}', "KEEPTTL");
    const { code, log } = await watch();
    expect({ code, log }).toEqual({
      code: 4,
      log: expect.stringContaining("rolled back: it stands at dual-write 100 %"),
    });
    expect(log).toContain("ALARM at read-through 100 %: the stores differ: 1 mismatched");
    expect(log).not.toContain(sid);
    const again = await watch();
    expect(again).toEqual({ code: 4, log: expect.stringContaining("below the floor dual-write") });
    expect(await runJson("status", ["status", ...options])).toMatchObject({ phase: "dual-write" });
    await runJson("check", ["check", "--repair", ...options]);
    expect(await watch()).toMatchObject({ code: 0 });
  });

  it("repeats what another command holds or a node holds up, until it is done", async () => {
    await advance("read-through");
    await stage.keys.set(`sess:${sid}`, '{"cookie":{},"cart":"tampered"}', "KEEPTTL");
    const store = await openControl(stage.legacyUrl, { migration: "shop", node: "testtest" });
    await store.lock("phase", "somebody", 120_000);
    let released = false;
    const { code, log } = await watch((told) => {
      if (!told.includes("phase rollback ended with 7") || released) return;
      released = true;
      void store.unlock("phase", "somebody");
    });
    await store.close();
    expect(released).toBe(true);
    expect({ code, log }).toEqual({ code: 4, log: expect.stringContaining("rolled back: it stands at dual-write") });
  });

  it("only tells where Redis is right and the other store is not", async () => {
    await runJson("check", ["check", "--repair", ...options]);
    await advance("read-through");
    await advance("redis-first");
    await stage.keys.set(`sess:${sid}`, '{"cookie":{},"cart":"newer"}', "KEEPTTL");
    const { code, log } = await watch();
    expect({ code, log }).toEqual({ code: 4, log: expect.stringContaining("repair before going back") });
    expect(log).toContain("ALARM at redis-first 100 %: the stores differ: 1 mismatched");
    expect(await runJson("status", ["status", ...options])).toMatchObject({ phase: "redis-first" });
  });

  it("names the way out where Redis stays away in redis-first, and ends", async () => {
    await runJson("check", ["check", "--repair", ...options]);
    await stage.redis.stop();
    const timeouts = { acknowledge: "1s", drain: "1s", legacy: "1s" };
    options = ["--config", stage.configure("impatient", { timeouts })];
    const { code, log } = await watch();
    expect({ code, log }).toEqual({ code: 5, log: expect.stringContaining("--redis-lost") });
  });

  it("ends with 5 when nothing can be steered", async () => {
    const broken = stage.configure("broken", { control: { url: "postgres://app@127.0.0.1:1/none" } });
    const before = options;
    options = ["--config", broken];
    const { code, log } = await watch();
    options = before;
    expect({ code, log }).toEqual({ code: 5, log: expect.stringContaining("status ended with 5") });
  });
});

describe("rollback-on-alarm, beside a command of which only the answers are known", () => {
  /** Answers as sessionferry does at read-through, notes what it was asked, and lets every check end with `code`. */
  function answering(code: number, error: string): { command: string; asked: () => string[] } {
    const [command, notes] = [join(stage.folder, "answering.sh"), join(stage.folder, "asked")];
    const status = '{"phase":"read-through","percent":100,"pending":null,"mirror":{"healthy":true},"redis":{}}';
    writeFileSync(notes, "");
    writeFileSync(
      command,
      `echo "$1" >>${notes}
      case $1 in
        status) echo '${status}' ;;
        check) echo '${error}'; exit ${code} ;;
        phase) echo '{"to":{"phase":"dual-write","percent":100}}' ;;
      esac`,
    );
    return { command: `sh ${command}`, asked: () => readFileSync(notes, "utf8").trim().split("\n") };
  }

  /** Goes on looking, as a service does; `code` is null where it had to be ended. */
  function keepWatch(command: string, given: readonly string[]): Promise<{ code: number | null; log: string }> {
    const child = spawn("sh", [SCRIPT, ...given], {
      env: { ...process.env, SESSIONFERRY: command },
      stdio: ["ignore", "ignore", "pipe"],
      timeout: 8_000,
    });
    let log = "";
    child.stderr.on("data", (text) => {
      log += text;
    });
    return new Promise((resolve) => child.on("close", (code) => resolve({ code, log })));
  }

  it("does not go further down where somebody else takes the pending step back at that very moment", async () => {
    const { command } = answering(4, '{"findings":["they differ"]}');
    const [script, there] = [command.replace(/^sh /, ""), join(stage.folder, "finished")];
    const pending = '{"lower":{"phase":"dual-write","percent":50},"direction":"up"}';
    const standing = (phase: string, step: string) =>
      `{"phase":"${phase}","percent":50,"pending":${step},"mirror":{"healthy":true},"redis":{}}`;
    writeFileSync(
      script,
      `case "$*" in
        status*) if [ -e ${there} ]; then echo '${standing("dual-write", "null")}'; else echo '${standing("dual-write", pending)}'; fi ;;
        check*) echo '{"findings":["they differ"]}'; exit 4 ;;
        phase*--to*) echo '{"to":{"phase":"legacy","percent":100}}' ;;
        phase*) touch ${there}; echo '{"error":{"code":"USAGE","message":"name it"}}'; exit 2 ;;
      esac`,
    );
    const { code, log } = await keepWatch(command, ["--every", "1", "--once"]);
    expect({ code, log }).toEqual({ code: 4, log: expect.stringContaining("no step is pending any more") });
    expect(log).not.toContain("rolled back");
  });

  it.each([
    [1, "UNEXPECTED"],
    [2, "CONFIG_INVALID"],
    [3, "NOT_SET_UP"],
  ])("ends with %i where the check cannot run", async (exit, error) => {
    const { command, asked } = answering(exit, `{"error":{"code":"${error}","message":"no","remedy":"Mend it."}}`);
    const { code, log } = await keepWatch(command, ["--every", "1"]);
    expect({ code, log }).toEqual({
      code: exit,
      log: expect.stringContaining(`check ended with ${exit}: no Mend it.`),
    });
    expect(asked()).toEqual(["status", "check"]);
  });

  it.each([
    ["a check that was killed", 137, '{"id":'],
    ["a Redis that was lost meanwhile", 3, '{"error":{"code":"REDIS_LOST","message":"no seal"}}'],
  ])("counts %s as a bad look", async (_, exit, error) => {
    const { command, asked } = answering(exit, error);
    const { code, log } = await keepWatch(command, ["--every", "1", "--strikes", "2"]);
    expect({ code, log }).toEqual({ code: 4, log: expect.stringContaining("rolled back: it stands at dual-write") });
    expect(log).not.toContain("SyntaxError");
    expect(asked().filter((verb) => verb === "check")).toHaveLength(2);
  });

  it.each([
    [
      ["--floor", "dual_write"],
      '--floor takes legacy, dual-write, read-through, redis-first or full-redis, not "dual_',
    ],
    [["--floor", "complete"], "--floor takes"],
    [["--every", "30sec"], '--every takes a whole number from 1 on, not "30sec"'],
    [["--every", "0"], "--every takes a whole number"],
    [["--strikes", ""], "--strikes takes a whole number"],
    [["--strikes", "99999999999999999999"], "--strikes takes a whole number"],
    [["--sample", "-1"], "--sample takes a whole number"],
    [["--every"], "--every needs a value"],
    [["--evry", "30"], "unknown option --evry"],
  ])("refuses %j before it looks", async (given, told) => {
    const { command, asked } = answering(0, "{}");
    const { code, log } = await keepWatch(command, given);
    expect({ code, log }).toEqual({ code: 2, log: expect.stringContaining(told) });
    expect(asked()).toEqual([""]);
  });
});
