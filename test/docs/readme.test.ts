import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { sectionsOf } from "./sections.js";
import { documentOf, perform, type Scenes, Stage } from "./stage.js";

let stage: Stage;
beforeAll(async () => {
  stage = await Stage.open();
});
afterAll(() => stage?.close());

/** `node app.mjs`, which the document shows there, does not end by itself. */
const SCENES: Scenes = {
  "5. Deploy": async (stage) => stage.startApplications(2),
  // The way before ended with the migration over; these sections are about one that runs.
  "The phases": begunAnew,
};

async function begunAnew(stage: Stage): Promise<void> {
  const before = await stage.visit();
  expect(before).toMatchObject({ status: 200, views: 1 });
  expect(existsSync(join(stage.folder, "check.md"))).toBe(true);
  // The control store is gone by now: the applications that were there go on, and a new one starts, with Redis alone.
  await stage.stopApplications();
  await stage.startApplications(1);
  expect(await stage.visit(before.cookie)).toMatchObject({ status: 200, views: 2 });
  await stage.stopApplications();
  await stage.must(
    `node -e 'require("sessionferry").createFerry.call; require("sessionferry/express").expressStore.call'`,
  );
  await stage.must("sessionferry setup --adopt --yes");
  await stage.startApplications(2);
  for (const percent of [10, 100]) {
    await stage.must(`sessionferry phase advance --to dual-write --percent ${percent}`);
  }
  await stage.must("sessionferry backfill");
  await stage.must("sessionferry check");
  await stage.must("sessionferry phase advance --to read-through --percent 100");
}

test("every command of the README does what it promises, in its order", { timeout: 480_000 }, async () => {
  const count = await perform("README.md", sectionsOf(documentOf("README.md")), stage, SCENES);
  expect(count).toBeGreaterThan(30);
  const { phase } = await stage.document("sessionferry status --json");
  expect(phase).toBe("read-through");
});
