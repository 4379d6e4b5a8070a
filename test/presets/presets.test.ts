import { describe, expect, it } from "vitest";
import { FerryError } from "../../src/errors.js";
import { LEGACY_PRESETS, legacyPreset, REDIS_PRESETS, redisPreset } from "../../src/presets/index.js";

describe("presets", () => {
  it("finds each by its name", () => {
    for (const preset of LEGACY_PRESETS) expect(legacyPreset(preset.name)).toBe(preset);
    for (const preset of REDIS_PRESETS) expect(redisPreset(preset.name)).toBe(preset);
  });

  it("answers an unknown name with the nearest known one", () => {
    const attempt = () => legacyPreset("connect-pgsimple");
    expect(attempt).toThrow(FerryError);
    expect(attempt).toThrow(/Did you mean "connect-pg-simple"/);
    expect(() => legacyPreset("memjs")).toThrow(/Known are .*connect-memjs/);
    expect(() => redisPreset("Connect-Redi")).toThrow(/Did you mean "connect-redis"/);
  });
});
