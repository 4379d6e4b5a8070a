import { PAIRINGS } from "../../core/preset-names.js";
import { FerryError } from "../../errors.js";
import type { LegacyPreset, RedisPreset } from "../../ports/preset.js";
import { LEGACY_PRESETS, REDIS_PRESETS } from "../../presets/index.js";
import { defineCommand } from "../command.js";
import { text } from "../options.js";
import type { Presets } from "../schemas.js";
import { headedTable, type Paint } from "../terminal.js";

export const command = defineCommand({
  positionals: { name: text("Everything about this one.", "NAME") },
  examples: [
    ["$0 presets", "The formats of sessions that are known, and what each moves to"],
    ["$0 presets php-memcached", "Keys, values and lifetime of one of them, and what to mind"],
  ],
  async run(context, { name }) {
    const json: Presets = {
      legacy: LEGACY_PRESETS.filter((preset) => name === undefined || preset.name === name).map(legacyDocument),
      redis: REDIS_PRESETS.filter((preset) => name === undefined || preset.name === name).map(redisDocument),
    };
    if (json.legacy.length + json.redis.length === 0) throw unknown();
    const { paint } = context.output;
    return { json, text: name === undefined ? listText(json, paint) : detailText(json, paint) };
  },
});

function legacyDocument(preset: LegacyPreset): Presets["legacy"][number] {
  const { name, title, backend, prefix, flags, value, lifetime, ignore = [], beware = [] } = preset;
  return {
    name,
    title,
    backend,
    key: preset.table === undefined ? `${prefix}SID` : `${preset.table.name}.${preset.table.sid}`,
    flags,
    value,
    lifetime,
    distribution: preset.distribution ?? null,
    ignored: ignore.map(({ source }) => source),
    beware: [...beware],
    redis: [...PAIRINGS[name].redis],
  };
}

function redisDocument({ name, title, prefix, value, lifetime, beware = [] }: RedisPreset): Presets["redis"][number] {
  return { name, title, key: `${prefix}SID`, value, lifetime, beware: [...beware] };
}

/** What was typed is not repeated: it might be anything. */
function unknown(): FerryError {
  const names = [...new Set([...LEGACY_PRESETS, ...REDIS_PRESETS].map(({ name }) => name))];
  return new FerryError("USAGE", `there is no such preset; known are ${names.join(", ")}`);
}

function listText({ legacy, redis }: Presets, paint: Paint): string {
  const rows = legacy.map(({ name, redis: [first = ""], title }) => [paint("bold", name), first, title]);
  const targets = redis.map(({ name, key, title }) => [paint("bold", name), key, title]);
  return [
    headedTable(paint, ["FROM", "TO", "WHAT MOVES"], rows),
    "",
    headedTable(paint, ["TO", "KEY", "WHAT READS IT"], targets),
    "",
    "Every value moves byte for byte; what a preset moves to can read it as it is. More: sessionferry presets NAME",
  ].join("\n");
}

function detailText({ legacy, redis }: Presets, paint: Paint): string {
  const from = legacy.map((preset) => {
    const { name, title, backend, key, flags, value, lifetime, distribution, ignored, beware } = preset;
    return [
      `${paint("bold", name)} (legacy, ${backend}): ${title}`,
      `  key       ${key}`,
      `  value     ${value}`,
      `  lifetime  ${lifetime}`,
      ...(backend === "memcached" ? [`  flags     ${flags}`] : []),
      ...(distribution === null ? [] : [`  servers   ${distribution}`]),
      ...(ignored.length === 0 ? [] : [`  ignored   ${ignored.join(" ")}`]),
      `  moves to  ${preset.redis.join(", ")}`,
      ...beware.map((sentence) => `  mind      ${sentence}`),
    ];
  });
  const to = redis.map(({ name, title, key, value, lifetime, beware }) => [
    `${paint("bold", name)} (redis): ${title}`,
    `  key       ${key}`,
    `  value     ${value}`,
    `  lifetime  ${lifetime}`,
    ...beware.map((sentence) => `  mind      ${sentence}`),
  ]);
  return [...from, ...to].map((lines) => lines.join("\n")).join("\n\n");
}
