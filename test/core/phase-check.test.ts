import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PHASE_NAMES } from "../../src/core/phase.js";
import { checkPhases } from "../../src/core/phase-check.js";
import { FerryError } from "../../src/errors.js";
import { loadPhases } from "../../src/phases.js";

const PHASES = loadPhases();

// biome-ignore lint/suspicious/noExplicitAny: the edits break the types on purpose.
type Editable = Record<string, any>;

function edited(edit: (phases: Editable) => void): Editable {
  const copy: Editable = structuredClone(PHASES);
  edit(copy);
  return copy;
}

const UNSAFE: Record<string, (phases: Editable) => void> = {
  "a barrier left out": (phases) => phases["read-through"].ladder.splice(1, 1),
  "mirroring begun without closing with none": (phases) => phases["dual-write"].ladder.splice(1, 1),
  "R's records kept before a second ascent": (phases) => {
    phases["dual-write"].ladder[1].enter = [];
  },
  "full-redis without a full copy": (phases) => {
    phases["full-redis"].ladder[1].enter = ["no-intents"];
  },
  "a descent that does not drain": (phases) => {
    phases["redis-first"].ladder[1].leave = [];
  },
  "L written first beside a Redis that is ahead": (phases) => {
    phases["redis-first"].ladder.splice(2, 1);
  },
  "a gap liberty while R is read": (phases) => {
    phases["read-through"].ladder[2].routes.liberty = "gap";
  },
  "a phase that means something else": (phases) => {
    phases["redis-first"].ladder.pop();
  },
  "phases out of order": (phases) => {
    phases["full-redis"].ladder[0].routes.write = "L";
  },
  "a ramp that falls": (phases) => {
    phases["read-through"].ramp = [50, 10, 100];
  },
  "complete made reversible": (phases) => {
    phases.complete.reversible = true;
  },
};

describe("phase files", () => {
  it("are safe as the package has them", () => {
    expect(Object.keys(PHASES)).toEqual([...PHASE_NAMES]);
  });

  for (const [name, edit] of Object.entries(UNSAFE)) {
    it(`are refused with ${name}`, () => {
      expect(() => checkPhases(edited(edit))).toThrow(expect.objectContaining({ code: "PHASE_UNSAFE" }));
    });
  }

  it("never do anything but pass or be refused, whatever they hold", () => {
    fc.assert(
      fc.property(fc.constantFrom(...PHASE_NAMES), fc.anything(), (name, file) => {
        try {
          checkPhases({ ...PHASES, [name]: file });
        } catch (error) {
          expect(error).toBeInstanceOf(FerryError);
        }
      }),
    );
  });
});
