import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import fc from "fast-check";
import { describe, it } from "vitest";
import { PHASE_NAMES } from "../../src/core/phase.js";
import { checkPhases } from "../../src/core/phase-check.js";
import { FerryError } from "../../src/errors.js";
import { loadPhases } from "../../src/phases.js";
import { runs } from "./runs.js";

const real = loadPhases();
type Tree = Record<string, unknown>;

/** Every place in the phase files, as paths through objects and lists. */
const places = (tree: unknown, prefix: string[] = []): string[][] =>
  typeof tree !== "object" || tree === null
    ? []
    : Object.entries(tree).flatMap(([key, value]) => [[...prefix, key], ...places(value, [...prefix, key])]);

const json = fc.oneof(
  fc.jsonValue(),
  fc.constantFrom<unknown>(
    { toString: 1 },
    { toString: null, valueOf: 1 },
    [{ toString: 1 }],
    { length: 1e9 },
    [null],
    [[]],
    -1,
    1e9,
  ),
);

function refusesOrTakes(check: () => unknown): void {
  try {
    check();
  } catch (error) {
    if (!(error instanceof FerryError) || error.code !== "PHASE_UNSAFE") throw error;
  }
}

describe("phase files, broken", () => {
  it("as data", () => {
    const at = fc.constantFrom(...places(real));
    fc.assert(
      fc.property(fc.array(fc.tuple(at, json), { minLength: 1, maxLength: 3 }), (changes) => {
        const files = structuredClone(real) as unknown as Tree;
        for (const [path, value] of changes) {
          let parent: unknown = files;
          for (const key of path.slice(0, -1)) parent = (parent as Tree | null | undefined)?.[key];
          if (typeof parent === "object" && parent !== null) (parent as Tree)[path.at(-1)!] = value;
        }
        refusesOrTakes(() => checkPhases(files));
      }),
      runs(500),
    );
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom(...PHASE_NAMES), fc.jsonValue()), (files) =>
        refusesOrTakes(() => checkPhases(files)),
      ),
      runs(50),
    );
  });

  it("as text, or not there", () => {
    const folder = mkdtempSync(join(tmpdir(), "fuzz-phases-"));
    try {
      const url = pathToFileURL(`${folder}/`);
      refusesOrTakes(() => loadPhases(url));
      for (const name of PHASE_NAMES) writeFileSync(join(folder, `${name}.json`), JSON.stringify(real[name]));
      fc.assert(
        fc.property(fc.constantFrom(...PHASE_NAMES), fc.nat(300), fc.string({ maxLength: 5 }), (name, cut, tail) => {
          writeFileSync(join(folder, `${name}.json`), JSON.stringify(real[name]).slice(0, cut) + tail);
          refusesOrTakes(() => loadPhases(url));
          writeFileSync(join(folder, `${name}.json`), JSON.stringify(real[name]));
        }),
        runs(60),
      );
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
