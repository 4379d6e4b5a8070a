import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "../../src/cli/parse.js";
import { generatedSchemas, phaseFile } from "../../src/cli/schemas.js";
import { VERBS, type Verb } from "../../src/cli/verbs.js";
import { PHASE_NAMES } from "../../src/core/phase.js";
import { FerryError } from "../../src/errors.js";
import { run, runError, runJson } from "./support.js";

let folder: string;
let config: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "sessionferry-frame-"));
  config = join(folder, "sessionferry.json");
  // Nobody listens there.
  const legacy = { preset: "connect-pg-simple", url: "postgres://app:geheim-redis-7@127.0.0.1:1/shop" };
  writeFileSync(config, JSON.stringify({ migration: "shop", legacy, redis: { url: "redis://127.0.0.1:2" } }));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function words(verbs: readonly Verb[], before: readonly string[] = []): string[][] {
  return verbs.flatMap((verb) => {
    const path = [...before, verb.name];
    return [...(verb.load === undefined ? [] : [path]), ...words(verb.verbs ?? [], path)];
  });
}
const COMMANDS = words(VERBS);

describe("help", () => {
  it("lists the verbs and the exit codes, and leaves hidden ones out", async () => {
    const { code, stdout } = await run(["--help"]);
    expect(code).toBe(0);
    for (const { name, hidden } of VERBS) {
      if (hidden) expect(stdout).not.toContain(`sessionferry ${name} `);
      else expect(stdout).toContain(`sessionferry ${name}`);
    }
    expect(stdout).toContain("Exit codes: 0 done");
  });

  it.each(COMMANDS)("has examples for %s %s", async (...path) => {
    const line = path.filter((word): word is string => typeof word === "string");
    const { code, stdout, stderr } = await run([...line, "--help"]);
    expect(code).toBe(0);
    expect(stderr).toBe("");
    expect(stdout).toContain("Examples:");
    expect(stdout).toContain(`sessionferry ${line.join(" ")}`);
    expect(stdout).toContain("--json");
  });

  it("tells the version", async () => {
    expect((await run(["--version"])).stdout).toBe("0.0.0\n");
    expect((await run(["--version", "--json"])).stdout).toBe('{"version":"0.0.0"}\n');
  });
});

describe("usage", () => {
  it.each([
    [[], "Name a command"],
    [["phase"], "Name one of: list, show, history, advance, rollback"],
    [["statsu"], "status"],
    [["phase", "lst"], "list"],
    [["status", "--wacth"], "did you mean --watch?"],
    [["phase", "show"], "<name> is missing"],
    [["phase", "show", "nirvana"], "legacy"],
    [["phase", "advance", "--percent", "0"], "--percent must be a whole number from 1 to 100"],
    [["phase", "advance", "--percent", "ten"], "--percent must be a whole number"],
    [["phase", "advance", "--timeout", "soon"], "--timeout must be a duration"],
    [["phase", "advance", "--to"], "to"],
    [["phase", "advance", "--to", "dual-write", "--to", "legacy"], "more than once"],
    [["phase", "rollback", "--to", "complete"], "to"],
    [["phase", "advance", "--force", "--to", "dual-write"], "--reason"],
    [["phase", "rollback", "--redis-lost"], "--reason"],
    [["check", "--toward", "legacy"], "--repair"],
    [["check", "--report", "result.txt"], ".md or .json"],
    [["check", "--report", "/nowhere/result.md"], "the report cannot be written to /nowhere/result.md (ENOENT)"],
    [["revoke"], "--ids-from is required"],
    [["revoke", "--ids-from", "/"], "the session ids cannot be read (EISDIR)"],
    [["revoke", "--ids-from", "/", "--dry-run"], "the session ids cannot be read (EISDIR)"],
  ])("refuses %j with exit 2", async (argv, text) => {
    // The configuration is fine and its servers are away: what is wrong is told before they are asked.
    const { exit, code, message } = await runError([...argv, "--config", config]);
    expect({ exit, code }).toEqual({ exit: 2, code: "USAGE" });
    expect(message).toContain(text);
  });

  it("needs a configuration for a dry run, too", async () => {
    const none = ["--config", join(folder, "none.yaml")];
    expect(await runError(["revoke", "--ids-from", "-", "--dry-run", ...none], { stdin: "some-id\n" })).toMatchObject({
      exit: 2,
      code: "CONFIG_NOT_FOUND",
    });
  });

  it("never repeats a word that may be a session id", async () => {
    const { message, exit } = await runError(["session", "show", "kNAd4fWJJdLkBz1HhE9vKtBqMYbTY7Pa"]);
    expect(exit).toBe(2);
    expect(message).not.toContain("kNAd");
    const { stderr } = await run(["session", "show", "kNAd4fWJJdLkBz1HhE9vKtBqMYbTY7Pa"]);
    expect(stderr).not.toContain("kNAd");
  });

  it("takes any line apart or refuses it with a word of the catalogue", async () => {
    const word = fc.oneof(
      fc.constantFrom(
        ...COMMANDS.flat(),
        "--json",
        "--to",
        "--percent",
        "50",
        "--yes",
        "--",
        "-x",
        "--help=no",
        "--to=",
      ),
      fc.string(),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(word, { maxLength: 6 }), async (argv) => {
        const parsed = await parse(argv, "0.0.0").catch((error: unknown) => error);
        if (parsed instanceof Error) expect(parsed).toBeInstanceOf(FerryError);
      }),
      { numRuns: 150 },
    );
  });

  it("wants --to without a terminal", async () => {
    const { exit, message } = await runError(["phase", "advance", "--config", config]);
    expect({ exit, message }).toEqual({ exit: 2, message: expect.stringContaining("--to is required") });
  });

  it("tells what is wrong with the configuration", async () => {
    expect(await runError(["status", "--config", join(folder, "none.yaml")])).toMatchObject({
      exit: 2,
      code: "CONFIG_NOT_FOUND",
    });
    const bad = join(folder, "bad.json");
    writeFileSync(bad, '{"migration":"shop","gaits":{}}');
    const { exit, code, message } = await runError(["status", "--config", bad]);
    expect({ exit, code }).toEqual({ exit: 2, code: "CONFIG_INVALID" });
    expect(message).toContain("did you mean gates?");
  });
});

describe("stores that are away", () => {
  it.each([
    ["status"],
    ["nodes"],
    ["phase history"],
    ["phase advance --to dual-write"],
    ["phase rollback"],
    ["backfill"],
    ["backfill status"],
    ["check"],
    ["check show"],
    ["session show"],
    ["revoke --ids-from -"],
    ["revoke --ids-from - --dry-run"],
    ["cleanup"],
    ["setup"],
  ])("%s exits 5", async (line) => {
    const { exit, code, changed } = await runError([...line.split(" "), "--config", config], { stdin: "some-id\n" });
    expect({ exit, changed }).toEqual({ exit: 5, changed: "nothing" });
    expect(code).toMatch(/_UNREACHABLE$/);
  });

  it("doctor tells all of them at once", async () => {
    const { ready, checks } = await runJson("doctor", ["doctor", "--config", config], { code: 5 });
    expect(ready).toBe(false);
    const away = checks.filter(({ ok }) => ok === "unreachable").map(({ name }) => name);
    expect(away).toEqual(["legacy", "redis", "control"]);
    expect(checks.find(({ name }) => name === "legacy")?.detail).toContain("postgres://app:***@127.0.0.1:1/shop");
  });
});

describe("phases, without any server", () => {
  it("lists and shows them", async () => {
    const { phases } = await runJson("phase-list", ["phase", "list", "--config", config]);
    expect(phases.map(({ name }) => name).join(" ")).toBe(
      "legacy dual-write read-through redis-first full-redis complete",
    );
    for (const { name } of phases) {
      const shown = await runJson("phase-show", ["phase", "show", name, "--config", config]);
      expect(shown.rungs.length).toBeGreaterThan(name === "legacy" ? -1 : 1);
      expect((await run(["phase", "show", name, "--config", config])).stdout).toContain(name);
    }
  });

  it("takes the ramps of the configuration", async () => {
    const path = join(folder, "ramps.json");
    const base = JSON.parse(readFileSync(config, "utf8")) as object;
    writeFileSync(path, JSON.stringify({ ...base, ramps: { "read-through": [1, 25, 100] } }));
    const shown = await runJson("phase-show", ["phase", "show", "read-through", "--config", path]);
    expect(shown.ramp).toEqual([1, 25, 100]);
  });
});

it("has current JSON schemas of its outputs (else run: npm run schemas)", () => {
  for (const [name, schema] of Object.entries(generatedSchemas())) {
    const stored = readFileSync(new URL(`../../schemas/${name}.schema.json`, import.meta.url), "utf8");
    expect(JSON.parse(stored), name).toEqual(JSON.parse(JSON.stringify(schema)));
  }
});

it("knows the shape of the phase files", () => {
  for (const name of PHASE_NAMES) {
    const file = readFileSync(new URL(`../../phases/${name}.json`, import.meta.url), "utf8");
    expect(phaseFile.safeParse(JSON.parse(file)), name).toMatchObject({ success: true });
  }
});

describe("as a process", () => {
  const main = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
  const start = (argv: readonly string[]) =>
    spawn(process.execPath, [main, ...argv], { stdio: ["ignore", "pipe", "pipe"] });
  const ended = (child: ReturnType<typeof start>) =>
    new Promise<number | null>((resolve) => child.on("close", (code) => resolve(code)));

  it("exits with the code of the catalogue and prints one document", async () => {
    const child = start(["phase", "show", "nirvana", "--json"]);
    let stdout = "";
    child.stdout.on("data", (text) => {
      stdout += text;
    });
    expect(await ended(child)).toBe(2);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: "USAGE" } });
  });

  it("ends quietly when nobody reads it", async () => {
    const child = start(["phase", "list"]);
    child.stdout.destroy();
    let stderr = "";
    child.stderr.on("data", (text) => {
      stderr += text;
    });
    expect(await ended(child)).toBe(0);
    expect(stderr).toBe("");
  });
});
