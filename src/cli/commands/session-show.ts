import { bucketOf } from "../../core/cohort.js";
import { authorityOf, expiryTolerance } from "../../core/compare.js";
import { compareValues } from "../../core/json-diff.js";
import { placementOf } from "../../core/phase.js";
import { isLive, NEVER, type Session } from "../../core/session.js";
import { loadSecrets } from "../../jobs/secrets.js";
import { loadPhases } from "../../phases.js";
import { systemClock } from "../../runtime/clock.js";
import { openVisitor } from "../../runtime/visitor.js";
import { defineCommand } from "../command.js";
import { abortable } from "../control.js";
import type { SessionShow } from "../schemas.js";
import { readOneSid } from "../stdin.js";
import { span, table, timestamp } from "../terminal.js";

export const command = defineCommand({
  examples: [["$0 session show < id.txt", "Where the session of that id stands; the value is never shown"]],
  async run(context) {
    const config = context.config();
    const named = await readOneSid(context);
    const visitor = await openVisitor(config, { call: 3_000, batch: 3_000 });
    try {
      const json = await abortable(look(), context.signal);
      return { json, text: textOf(json, systemClock.now()) };
    } finally {
      await visitor.close();
    }

    /** In a pool: by R's word on its server, else where a server holds it. */
    async function whereItIs(): Promise<string> {
      const [inRedis = named] = (await visitor.records.locate?.([named])) ?? [named];
      // Whether memcached is there is told by the question that matters.
      const [found = inRedis] = (await visitor.legacy.locate?.([inRedis]).catch(() => null)) ?? [inRedis];
      return found;
    }

    async function look(): Promise<SessionShow> {
      const { control, legacy, records } = visitor;
      const record = await control.read();
      records.generation = record.generation;
      const sid = await whereItIs();
      const bucket = bucketOf(sid);
      const placement = placementOf(loadPhases(), record, bucket);
      // R first, as the check looks: a write between the two shows as a mark, not as a difference.
      const [view] = await records.view([sid]);
      const old = placement.phase === "complete" ? null : await legacy.get(sid);
      const now = systemClock.now();
      const authority = authorityOf(placement);
      const mark = view?.mark ?? "none";
      const found = view?.session ?? null;
      const settled = authority !== null && placement.phase !== "complete" && (mark === "none" || mark === "lease");
      const tolerance = expiryTolerance(config.gates.ttlTolerance, legacy.expiryGranularity);
      const differences = settled ? compare(old, found, tolerance, now) : [];
      return {
        digest: (await loadSecrets(control, systemClock)).digest(sid),
        bucket,
        phase: placement.phase,
        authority: authority === null || authority === "L" ? "legacy" : "redis",
        mark,
        intents: view?.intents.length ?? 0,
        legacy: side(old, now),
        redis: side(found, now),
        equal: settled ? differences.length === 0 : null,
        differences,
      };
    }
  },
});

function side(session: Session | null, now: number): SessionShow["legacy"] {
  if (!isLive(session, now)) return { present: false, expiresAt: null, bytes: 0 };
  const { expiresAt, value } = session;
  return { present: true, expiresAt: expiresAt === NEVER ? null : expiresAt, bytes: value.length };
}

function compare(
  legacy: Session | null,
  redis: Session | null,
  tolerance: number,
  now: number,
): SessionShow["differences"] {
  if (!isLive(legacy, now)) return isLive(redis, now) ? ["only in redis"] : [];
  if (!isLive(redis, now)) return ["only in legacy"];
  const differences: SessionShow["differences"] = [];
  if (!compareValues(legacy.value, redis.value).equal) differences.push("value");
  const apart = legacy.expiresAt === redis.expiresAt ? 0 : Math.abs(legacy.expiresAt - redis.expiresAt);
  if (apart > tolerance) differences.push("expiry");
  return differences;
}

function textOf(json: SessionShow, now: number): string {
  const sideText = ({ present, expiresAt, bytes }: SessionShow["legacy"]) => {
    if (!present) return "absent";
    return `${bytes} bytes, ${expiresAt === null ? "never expires" : `expires ${timestamp(expiresAt)} (in ${span(expiresAt - now)})`}`;
  };
  const verdict =
    json.equal === null
      ? "not compared: it is being written, or only one store counts"
      : json.equal
        ? "yes"
        : `no: ${json.differences.join(", ")}`;
  return table([
    ["digest", json.digest],
    ["phase", `${json.phase} (bucket ${json.bucket})`],
    ["authority", json.authority],
    ["mark", json.intents > 0 ? `${json.mark} (${json.intents})` : json.mark],
    ["legacy", json.phase === "complete" ? "not asked: Redis is alone" : sideText(json.legacy)],
    ["redis", sideText(json.redis)],
    ["equal", verdict],
  ]);
}
