import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { emptyCounts } from "../../src/core/check-result.js";
import { adviceFor } from "../../src/observe/check-advice.js";
import { renderCheckMarkdown } from "../../src/observe/check-report.js";
import { checkResultSchema, renderCheckJson } from "../../src/observe/check-schema.js";
import { requireReport, writeReport } from "../../src/observe/report.js";
import { aResult } from "../support/check-results.js";

const counts = (over: object) => ({ ...emptyCounts(), equal: 95, ...over });
const commands = (result: Parameters<typeof adviceFor>[0]) => adviceFor(result).next.map(({ command }) => command);
const redisFirst = { phase: "redis-first", percent: 100 } as const;

describe("advice", () => {
  test("a clean check asks for nothing", () => {
    expect(adviceFor(aResult())).toMatchObject({ verdict: "CLEAN", meaning: expect.stringContaining("nothing to do") });
  });
  test.each([
    ["mismatched", ["sessionferry check --repair", "sessionferry check"]],
    ["expiry", ["sessionferry check --repair", "sessionferry check"]],
    ["behind", ["sessionferry check --repair", "sessionferry check"]],
    [
      "leftover",
      [
        "sessionferry phase rollback --to redis-first",
        "sessionferry check --repair --toward redis",
        "sessionferry check",
      ],
    ],
    ["missing", ["sessionferry backfill", "sessionferry check"]],
    ["resurrected", ["sessionferry check --repair --toward legacy", "sessionferry check"]],
  ])("%s", (name, next) => {
    const result = aResult({ counts: counts({ [name]: 2 }) });
    expect(adviceFor(result).verdict).toBe("FAULTS FOUND");
    expect(commands(result)).toEqual(next);
  });
  test("after a repair only what could not be repaired is asked again", () => {
    const repaired = aResult({ counts: counts({ mismatched: 2 }), repaired: { mismatched: { done: 2, failed: 0 } } });
    expect(commands(repaired)).toEqual(["sessionferry check"]);
    const partly = aResult({ counts: counts({ mismatched: 2 }), repaired: { mismatched: { done: 1, failed: 1 } } });
    expect(commands(partly)).toEqual(["sessionferry check --repair", "sessionferry check"]);
    expect(commands(aResult({ repaired: {} }))).toEqual(["sessionferry check"]);
  });
  test("a check that is blind sends to the doctor", () => {
    const blind = aResult({ planted: { planted: 5, found: 4, missed: ["late"] } });
    expect(adviceFor(blind).verdict).toBe("CLEAN, BUT NO EVIDENCE");
    expect(commands(blind)).toEqual(["sessionferry doctor", "sessionferry check"]);
    expect(adviceFor(aResult({ aborted: true })).verdict).toBe("BROKEN OFF");
  });
  test("says who is hurt", () => {
    const faults = counts({ mismatched: 1 });
    expect(adviceFor(aResult({ counts: faults })).meaning).toContain("Nobody is hurt");
    const later = { counts: faults, position: { before: redisFirst, after: redisFirst } };
    expect(adviceFor(aResult({ ...later, authority: { L: 0, R: 96 } })).meaning).toContain("a rollback would bring");
    expect(adviceFor(aResult(later)).meaning).toContain("sessionferry phase rollback");
  });
});

describe("the report", () => {
  const result = aResult({
    counts: counts({ mismatched: 3, expiry: 1, busy: 1 }),
    examples: {
      mismatched: [
        { digest: "00112233445566aa", paths: ["cart.*.count", "user"] },
        { digest: "0f0f", paths: [] },
      ],
      expiry: [
        { digest: "aa", laterBy: 65_000 },
        { digest: "bb", laterBy: -2_000 },
        { digest: "cc", laterBy: null },
      ],
      busy: [{ digest: "dd" }],
    },
    repaired: { mismatched: { done: 2, failed: 1 } },
  });
  test("gives the verdict first, then what to type, then the figures", () => {
    const text = renderCheckMarkdown(result);
    const order = [
      "FAULTS FOUND",
      "at most 0 allowed",
      "## Type next",
      "## Why it is no evidence",
      "## What was found",
    ];
    const places = order.map((part) => text.indexOf(part));
    expect(places).toEqual([...places].sort((a, b) => a - b));
    expect(places[0]).toBeGreaterThan(0);
    expect(text).toMatch(/1\. `sessionferry check --repair`/);
    expect(text).toContain("| mismatched | 3 | the two stores hold different values |");
    expect(text).toContain("| mismatched | 00112233445566aa | `cart.*.count`, `user` |");
    expect(text).toContain("| mismatched | 0f0f | not JSON |");
    expect(text).toContain("| expiry | aa | Redis dies 1 m 5 s later |");
    expect(text).toContain("| expiry | bb | Redis dies 2 s earlier |");
    expect(text).toContain("planted 5, found 5");
    expect(text).not.toMatch(/undefined|NaN|\[object/);
  });
  test("of a clean check is short", () => {
    const text = renderCheckMarkdown(aResult());
    expect(text.split("\n").length).toBeLessThan(30);
    expect(text).not.toContain("no evidence");
  });
  test("as JSON it is the result itself, and keeps its contract", () => {
    expect(JSON.parse(renderCheckJson(result))).toEqual(result);
    expect(() => renderCheckJson({ ...result, mode: "half" as "full" })).toThrow();
    const schema = z.toJSONSchema(checkResultSchema) as { required: string[] };
    expect(schema.required).toEqual(expect.arrayContaining(["clean", "evidence", "counts", "findings"]));
  });
  test("is written by the ending of its name", async () => {
    const folder = await mkdtemp(join(tmpdir(), "sessionferry-report-"));
    try {
      await writeReport(join(folder, "a.md"), result);
      await writeReport(join(folder, "a.JSON"), result);
      expect(await readFile(join(folder, "a.md"), "utf8")).toBe(renderCheckMarkdown(result));
      expect(JSON.parse(await readFile(join(folder, "a.JSON"), "utf8"))).toEqual(result);
      const refused = { code: "USAGE", exit: 2 };
      await expect(requireReport("a.pdf")).rejects.toMatchObject(refused);
      await mkdir(join(folder, "folder.md"));
      for (const name of ["folder.md", "a.md/b.md", "nowhere/b.md"])
        await expect(requireReport(join(folder, name))).rejects.toMatchObject(refused);
      // What was there is kept, and nothing is left of the attempt.
      for (const name of ["a.md", "b.md"]) await requireReport(join(folder, name));
      expect(await readFile(join(folder, "a.md"), "utf8")).toBe(renderCheckMarkdown(result));
      expect(await readdir(folder)).toEqual(["a.JSON", "a.md", "folder.md"]);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
