import { describe, expect, it } from "vitest";
import { LEGACY_PRESET_NAMES, PAIRINGS, REDIS_PRESET_NAMES } from "../../src/core/preset-names.js";
import { FerryError } from "../../src/errors.js";
import { isIgnored } from "../../src/ports/preset.js";
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

  it("pairs each with formats that are known, over the store that it is kept in", () => {
    expect(LEGACY_PRESETS.map(({ name }) => name)).toEqual([...LEGACY_PRESET_NAMES]);
    expect(REDIS_PRESETS.map(({ name }) => name)).toEqual([...REDIS_PRESET_NAMES]);
    for (const { name, backend, table } of LEGACY_PRESETS) {
      expect(PAIRINGS[name].backend).toBe(backend);
      expect(table !== undefined).toBe(backend === "postgres");
    }
  });

  it("takes PHP's locks for what they are, and nothing else", () => {
    const php = legacyPreset("php-memcached");
    expect(isIgnored(php, "lock.0123456789abcdef")).toBe(true);
    for (const sid of ["0123456789abcdef", "lock-0123", "block.0123", "lock"]) expect(isIgnored(php, sid)).toBe(false);
    expect(isIgnored(legacyPreset("memcached"), "lock.0123456789abcdef")).toBe(false);
  });
});
