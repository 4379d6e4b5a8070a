import { describe, expect, it } from "vitest";
import { loadMigrations } from "../../src/control/migrations.js";
import { openControl } from "../../src/control/open.js";

const OPTIONS = { migration: "shop", node: "node0001" };

describe("openControl", () => {
  it.each([
    ["postgres://u@h/db", "postgres"],
    ["postgresql://u@h/db", "postgres"],
    ["redis://h", "redis"],
    ["rediss://h", "redis"],
    ["redis-sentinel://a,b/main", "redis"],
  ])("%s", async (url, kind) => {
    const store = await openControl(url, OPTIONS);
    expect(store.kind).toBe(kind);
    await store.close();
  });

  it.each(["memcached://u:secret@h", "redis-cluster://u:secret@h", "h:secret", ""])("refuses %s", async (url) => {
    const failure = (await openControl(url, OPTIONS).catch((error: unknown) => error)) as Error;
    expect(failure).toMatchObject({ code: "CONFIG_INVALID" });
    expect(failure.message).not.toContain("secret");
  });

  it("gives a store that refuses to work once it is closed", async () => {
    for (const url of ["postgres://u@127.0.0.1:1/db", "redis://127.0.0.1:1"]) {
      const store = await openControl(url, OPTIONS);
      await store.close();
      await store.close();
      await expect(store.read()).rejects.toMatchObject({ code: "CLOSED" });
    }
  });
});

describe("the SQL files", () => {
  it("are numbered without a gap", () => {
    const migrations = loadMigrations();
    expect(migrations.map(({ number }) => number)).toEqual(migrations.map((_, index) => index + 1));
  });
});
