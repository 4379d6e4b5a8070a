import type { Phases } from "../core/phase.js";
import { isReversible } from "../core/transition.js";
import { shownRefusals } from "../ferry/refused.js";
import type { Overview } from "../workflow/overview.js";
import { nodeDocument, nodesText } from "./node-text.js";
import type { Status } from "./schemas.js";
import { bytes, type Paint, span, table } from "./terminal.js";

export function statusDocument(seen: Overview, phases: Phases): Status {
  const { record, now, standing, backfill, lastCheck, redis, dirty, refused, next, advice } = seen;
  const nodes = seen.nodes.map((node) => nodeDocument(node, record.revision, now));
  const serving = nodes.filter(({ role, state }) => role !== "job" && state === "live");
  const sum = (pick: (node: (typeof nodes)[number]) => number) =>
    serving.reduce((total, node) => total + pick(node), 0);
  const p95s = serving.flatMap(({ p95 }) => (p95 === null ? [] : [p95]));
  const { pending, position } = record;
  const checkpoint = backfill.checkpoint;
  return {
    migration: record.migration,
    phase: position.phase,
    percent: position.percent,
    revision: record.revision,
    interrupted: record.interrupted,
    pending:
      pending === null
        ? null
        : {
            from: pending.direction === "up" ? { ...pending.lower } : { ...pending.upper },
            to: pending.direction === "up" ? { ...pending.upper } : { ...pending.lower },
            direction: pending.direction,
            rung: phases[pending.ladder].ladder[pending.rung]?.name ?? String(pending.rung),
            step: pending.rung + 1,
            steps: phases[pending.ladder].ladder.length,
            reversible: isReversible(pending, phases),
            waitingFor: nodes.filter((node) => node.state !== "live" || !node.acknowledged).map(({ id }) => id),
            by: pending.by,
            reason: pending.reason,
            startedAt: pending.startedAt,
            age: Math.max(0, now - pending.startedAt),
          },
    nodes,
    mirror: {
      healthy: serving.every((node) => node.redis === "up" || node.redis === "unused") && sum(({ gap }) => gap) === 0,
      withoutRedis: serving.filter((node) => node.redis === "down" || node.redis === "lost").length,
      gaps: sum(({ gap }) => gap),
      operations: sum(({ operations }) => operations),
      errors: sum(({ errors }) => errors),
      p95: p95s.length === 0 ? null : Math.max(...p95s),
    },
    redis:
      redis === null
        ? null
        : { usedMemory: redis.usedMemory, maxMemory: redis.maxMemory, evictionPolicy: redis.evictionPolicy },
    dirty: dirty === null ? null : { ...dirty },
    refused: refused.map((each) => ({ ...each, sessions: [...each.sessions] })),
    backfill:
      checkpoint === null
        ? null
        : {
            state: checkpoint.state,
            alive: backfill.alive,
            done: backfill.done,
            total: checkpoint.total,
            rate: checkpoint.rate,
            etaSeconds: backfill.etaSeconds,
            outdated: checkpoint.generation !== record.generation,
            updatedAt: checkpoint.updatedAt,
          },
    check:
      lastCheck === null
        ? null
        : {
            id: lastCheck.id,
            mode: lastCheck.mode,
            endedAt: lastCheck.endedAt,
            age: Math.max(0, now - lastCheck.endedAt),
            clean: lastCheck.clean,
            evidence: lastCheck.evidence,
            findings: [...lastCheck.findings, ...lastCheck.whyNot],
          },
    voided: standing.voided === null ? null : { at: standing.voided.at, why: standing.voided.why },
    next: next === null ? null : { ...next.target, gates: next.gates.map((gate) => ({ ...gate })) },
    advice: { ...advice },
  };
}

export function statusText(status: Status, paint: Paint): string {
  const { pending, mirror, dirty, refused, redis, backfill, check, voided, next, advice } = status;
  const alone = status.phase === "legacy" || status.phase === "complete";
  const rows: string[][] = [
    ["migration", `${status.migration} (revision ${status.revision})`],
    ["phase", paint("bold", alone ? status.phase : `${status.phase} ${status.percent} %`)],
  ];
  if (status.interrupted) rows.push(["", paint("red", "no application was there for a while (interrupted)")]);
  if (pending !== null) {
    rows.push([
      "pending",
      paint(
        "yellow",
        `${pending.direction} to ${pending.to.phase} ${pending.to.percent} %, at ${pending.rung} (${pending.step} of ${pending.steps}), for ${span(pending.age)}`,
      ),
    ]);
    if (pending.waitingFor.length > 0) rows.push(["", `waiting for ${pending.waitingFor.join(", ")}`]);
  }
  rows.push(["mirror", mirrorText(status, paint)]);
  if (dirty !== null && dirty.count > 0) {
    rows.push(["to drain", `${dirty.count} changes, the oldest waits ${span(dirty.oldestAge)}`]);
  }
  if (refused.length > 0) {
    rows.push(["", paint("red", `the legacy store does not take ${shownRefusals(refused)}`)]);
  }
  if (redis === null) rows.push(["redis", paint("red", "away, or not the one that was sealed")]);
  else {
    const limit = redis.maxMemory ? ` of ${bytes(redis.maxMemory)}` : "";
    rows.push(["redis", `${bytes(redis.usedMemory)}${limit} used, ${redis.evictionPolicy ?? "policy not told"}`]);
  }
  if (mirror.operations > 0) {
    const p95 = mirror.p95 === null ? "" : `, p95 ${mirror.p95.toFixed(1)} ms`;
    rows.push(["requests", `${mirror.operations} since the last report, ${mirror.errors} failed${p95}`]);
  }
  rows.push(["backfill", backfillText(backfill)]);
  rows.push(["last check", checkText(check, paint)]);
  if (voided !== null)
    rows.push(["", `evidence before ${new Date(voided.at).toISOString()} was voided: ${voided.why}`]);
  const lines = [table(rows), "", nodesText(status.nodes, paint)];
  if (next !== null && pending === null) {
    const gates = next.gates.map(({ gate, ok, measured, required }) => [
      ok ? paint("green", "ok") : paint("red", "no"),
      gate,
      measured,
      ok ? "" : `asked: ${required}`,
    ]);
    lines.push("", `Next step: ${next.phase} ${next.percent} %`, table(gates, { indent: "  " }));
  }
  lines.push(
    "",
    advice.command === null ? `Next: ${advice.why}` : `Next: ${paint("bold", advice.command)}  (${advice.why})`,
  );
  return lines.join("\n");
}

function mirrorText({ mirror, phase }: Status, paint: Paint): string {
  if (mirror.healthy) return phase === "legacy" ? "not in use" : paint("green", "healthy");
  const problems = [
    mirror.withoutRedis > 0 ? `${mirror.withoutRedis} nodes without Redis` : "",
    mirror.gaps > 0 ? `${mirror.gaps} writes that Redis has missed` : "",
  ];
  return paint("red", problems.filter((problem) => problem !== "").join(", "));
}

function backfillText(backfill: Status["backfill"]): string {
  if (backfill === null) return "none yet";
  const { state, alive, done, total, rate, etaSeconds, outdated } = backfill;
  const dead = (state === "running" || state === "paused") && !alive ? " (its process is gone)" : "";
  const eta = etaSeconds === null || !alive ? "" : `, ${Math.round(rate)}/s, ${span(etaSeconds * 1000)} left`;
  return `${state}${dead}, ${done} of ${total}${eta}${outdated ? "; it filled an older Redis and counts no more" : ""}`;
}

function checkText(check: Status["check"], paint: Paint): string {
  if (check === null) return "none yet";
  const verdict = check.clean ? paint("green", "clean") : paint("red", "not clean");
  const worth = check.evidence ? "" : ", no evidence";
  const why = check.findings.length === 0 ? "" : `: ${check.findings.join(" ")}`;
  return `${check.mode}, ${verdict}${worth}, ${span(check.age)} ago (${check.id})${why}`;
}
