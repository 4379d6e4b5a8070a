import { setTimeout as delay } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { findPostgres } from "../../src/servers/find.js";
import { runError, runJson } from "../cli/support.js";
import { baseBackup } from "../support/postgres-backup.js";
import { AWAY, at, BusySite } from "./busy-site.js";
import { processPackage } from "./processes.js";

const own = { folder: "", remove: () => {} };
beforeAll(() => Object.assign(own, processPackage()));
afterAll(() => own.remove());

let busy: BusySite;
afterEach(() => busy?.close());

const GATES = { maxErrorRate: 1, maxP95: "1m" };
const findings = (result: { counts: Readonly<Record<string, number>> }) =>
  Object.entries(result.counts).filter(([name, count]) => count > 0 && !UNIMPORTANT.has(name));
const UNIMPORTANT = new Set(["equal", "copied", "skipped", "compared"]);

/** Traffic for a while, of which nobody is in the middle of anything when this resolves. */
async function serve(milliseconds: number): Promise<void> {
  busy.traffic.start();
  await delay(milliseconds);
  await busy.traffic.stop();
}

// A server from Docker keeps its data where nobody can copy it.
describe.runIf((await findPostgres()) !== null)(
  "PostgreSQL that fails over to a server without the last writes",
  () => {
    test("in dual-write: evidence is void; the new server is right, and a repair brings Redis in line", async () => {
      busy = await BusySite.open(own.folder, at("dual-write"));
      const { site, traffic, history } = busy;
      const options = ["--config", busy.configFile({ gates: GATES })];
      const advance = ["phase", "advance", "--to", "read-through", ...options];
      await traffic.stop();
      await runJson("backfill", ["backfill", ...options]);
      await runJson("check", ["check", ...options]);
      await runJson("phase-move", [...advance, "--dry-run"]);

      const failOver = await baseBackup(site.legacy);
      await serve(600);
      await failOver();
      await busy.recovered();

      const refused = await runError(advance);
      expect(refused).toMatchObject({ exit: 3, code: "GATE_REFUSED" });
      expect(refused.message).toContain("the legacy store was replaced or restarted");
      const found = await runJson("check", ["check", ...options], { code: 4 });
      expect(findings(found)).not.toEqual([]);
      await runJson("check", ["check", "--repair", "--toward", "legacy", ...options]);
      expect(await site.differences(history.sids)).toEqual([]);

      // What the new server has lost is lost, and told above; from here on every answer counts again.
      traffic.startOver();
      await runJson("phase-move", advance);
      await serve(500);
      await busy.rest();
      busy.expectOnly([]);
    });

    test("in redis-first: Redis is right, no request is answered wrongly, and a repair gives back what was lost", async () => {
      busy = await BusySite.open(own.folder, at("redis-first"));
      const { site, traffic, history } = busy;
      const options = ["--config", busy.configFile({ gates: GATES })];
      await traffic.stop();
      await runJson("check", ["check", ...options]);
      const failOver = await baseBackup(site.legacy);
      // A logout that the new server has lost is known to nobody any more: in redis-first its session lives again.
      traffic.options.destroys = false;
      traffic.start();
      await delay(700);
      await failOver();
      await delay(700);
      await traffic.stop();
      await busy.recovered();
      busy.expectOnly([...AWAY, "CONTROL_UNREACHABLE"]);

      const refused = await runError(["phase", "advance", "--to", "full-redis", ...options]);
      expect(refused).toMatchObject({ exit: 3, code: "GATE_REFUSED" });
      expect(refused.message).toContain("the legacy store was replaced or restarted");
      await runJson("check", ["check", "--repair", ...options]);
      expect(await site.differences(history.sids)).toEqual([]);
      traffic.options.destroys = true;
      traffic.start();
      await busy.climb(at("full-redis"));
      await busy.descend(at("dual-write"));
      await busy.rest();
    });
  },
);
