/** The lock file and the closing line of a test run: what a clean machine and scripts rely on. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("../", import.meta.url));

interface Locked {
  readonly resolved?: string;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

describe("the lock file", () => {
  const { packages } = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")) as {
    packages: Record<string, Locked>;
  };

  test("names no registry, so that each machine uses its own", () => {
    expect(Object.values(packages).filter(({ resolved }) => resolved !== undefined)).toEqual([]);
  });

  // A registry that mirrors only some platforms makes npm leave the others out, and then npm ci refuses the file.
  test("holds the optional packages of every platform", () => {
    const away = Object.entries(packages).flatMap(([path, { optionalDependencies = {} }]) =>
      Object.keys(optionalDependencies).filter((name) => !isLocked(path, name)),
    );
    expect(away).toEqual([]);
  });

  /** Looks where Node would: in the package's own node_modules, then in those around it. */
  function isLocked(path: string, name: string): boolean {
    if (`${path}/node_modules/${name}`.replace(/^\//, "") in packages) return true;
    return path !== "" && isLocked(path.replace(/\/?node_modules\/(@[^/]+\/)?[^/]+$/, ""), name);
  }
});

describe("the last line of a test run", () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "sessionferry-closing-line-"));
    symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
    const config = {
      test: { retry: 1, include: ["*.test.js"], reporters: ["default", join(root, "tools/closing-line.mjs")] },
    };
    writeFileSync(join(folder, "vitest.config.mjs"), `export default ${JSON.stringify(config)};`);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  function secondTries(times: number): string {
    return `for (let i = 0; i < ${times}; i++) { let tries = 0; test("a" + i, () => { if (tries++ === 0) throw new Error("not yet"); }); }`;
  }

  const runs = [
    {
      name: "good",
      code: 'test("a", () => {}); test.skip("b", () => {});',
      exit: 0,
      line: "1 passed, 0 failed, 1 skipped",
    },
    { name: "bad", code: 'test("a", () => {}); test("b", () => { throw 1; });', exit: 1, line: "1 passed, 1 failed" },
    { name: "unloadable", code: 'import "./nowhere.js";', exit: 1, line: "0 passed, 1 failed" },
    {
      name: "hook",
      code: 'describe("a", () => { beforeAll(() => { throw new Error("b"); }); test("c", () => {}); }); test("d", () => {});',
      exit: 1,
      line: "1 passed, 1 failed, 1 skipped",
    },
    {
      name: "unhandled",
      code: 'test("a", () => { Promise.reject(new Error("b")); });',
      exit: 1,
      line: "1 passed, 1 failed",
    },
    { name: "few", code: secondTries(3), exit: 0, line: "3 passed, 0 failed" },
    { name: "many", code: secondTries(4), exit: 1, line: "4 passed, 1 failed" },
    { name: "nothing", code: 'test.skip("a", () => {});', exit: 1, line: "0 passed, 0 failed, 1 skipped" },
    { name: "absent", code: null, exit: 1, line: "0 passed, 0 failed" },
  ];

  test.each(runs)("tells and exits by what happened: $name", ({ name, code, exit, line }) => {
    if (code !== null) {
      writeFileSync(join(folder, `${name}.test.js`), `import { beforeAll, describe, test } from "vitest";\n${code}\n`);
    }
    const vitest = join(root, "node_modules/vitest/vitest.mjs");
    const { status, stdout } = spawnSync(process.execPath, [vitest, "run", name], { cwd: folder, encoding: "utf8" });
    expect(stdout.trimEnd().split("\n").at(-1)).toBe(line);
    expect(status).toBe(exit);
  });

  test("names what passed at its second try only", () => {
    writeFileSync(join(folder, "named.test.js"), `import { test } from "vitest";\n${secondTries(1)}\n`);
    const vitest = join(root, "node_modules/vitest/vitest.mjs");
    const { stdout } = spawnSync(process.execPath, [vitest, "run", "named"], { cwd: folder, encoding: "utf8" });
    expect(stdout.trimEnd().split("\n").slice(-2)).toEqual([
      "passed at its second try: named.test.js > a0: not yet",
      "1 passed, 0 failed",
    ]);
  });
});
