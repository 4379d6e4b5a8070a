import { nodeOf } from "../../src/core/ids.js";
import type { Fleet } from "../integration/fleet.js";
import type { Site } from "../integration/site.js";

/** What moves as long as anything is done about a fault: positions, nodes, what they acknowledge and owe. */
export async function pulseOf(site: Site): Promise<string> {
  return site.look(async ({ control }) => {
    const { revision, pending } = await control.read();
    // Commands come and go by themselves; every attempt makes a new one.
    const nodes = (await control.nodes()).filter(({ role }) => role !== "job");
    return JSON.stringify([
      revision,
      pending?.rung,
      nodes.map(({ id, state, report }) => [id, state, report.acknowledged, report.gap, report.redis]),
    ]);
  });
}

/** Where the site and its fleet stand, as text of several lines. */
export async function reportOf(site: Site, fleet: Fleet): Promise<string> {
  const lines = await site.look(async ({ control, records }) => {
    const { revision, position, pending, generation } = await control.read();
    const now = await control.now();
    const marks = async () => {
      const kinds = new Map<string, number>();
      for await (const page of records.listIntents({ pageSize: 500 })) {
        for (const { intents } of page) {
          for (const intent of intents) kinds.set(nodeOf(intent), (kinds.get(nodeOf(intent)) ?? 0) + 1);
        }
      }
      const told = [...kinds].map(([node, count]) => `${count} of ${node}`).join(", ");
      return `intents: ${told || "none"}; dirty: ${(await records.dirtyState()).count}`;
    };
    const seal = await records.seal().catch((error) => String(error));
    return [
      `  revision ${revision}, ${position.phase} ${position.percent} %`,
      pending === null
        ? "  nothing is pending"
        : `  pending: ${pending.ladder} rung ${pending.rung} ${pending.direction}${pending.oneWay ? ", one way" : ""}`,
      `  seal: ${typeof seal === "string" ? seal : seal === null ? "none" : seal.generation === generation ? "as recorded" : "of another generation"}`,
      `  ${await marks().catch((error) => `marks: ${error}`)}`,
      ...(await control.nodes()).map(
        ({ id, pid, role, state, report, renewedAt }) =>
          `  ${role} ${id} pid ${pid} ${state}: acknowledged ${report.acknowledged}, gap ${report.gap}, ` +
          `Redis ${report.redis}, silent for ${now - renewedAt} ms`,
      ),
    ];
  });
  for (const { child, alive, frozen, waiting, events } of fleet.members) {
    const oldest = Math.max(0, ...waiting.map(({ milliseconds }) => milliseconds));
    const state = !alive ? "gone" : frozen ? "frozen" : "awake";
    lines.push(`  process ${child.pid} ${state}: ${waiting.length} requests under way, the oldest for ${oldest} ms`);
    for (const { event, detail } of events.slice(-2)) lines.push(`    ${event} ${detail}`);
  }
  return lines.join("\n");
}
