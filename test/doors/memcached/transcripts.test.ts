import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type RunningServer, startMemcached } from "../../../src/servers/index.js";
import { LAST, LAST_REPLY } from "./binary-packets.js";
import { BINARY, ENDLESS, META, type Script, TEXT } from "./scripts.js";
import { type DoorOver, openDoorOver, Talk, TestRelay } from "./support.js";

/**
 * The same bytes are said to memcached and to the door in front of another memcached, and the same must come back, byte
 * for byte. Both servers are emptied before each transcript and have given out the same CAS numbers, so these are
 * compared, too. (Where memcached ends a connection at once, it drops replies that it has not written: no script has any
 * there.) Of what depends on time only the remaining seconds of 1000 are seen: from 990 on they count as equal.
 */
const soften = (text: string) => text.replace(/ t(99\d|1000)(?=[ \r])/g, " t<1000");

/** Splits at these places, as far as they lie within. */
function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const at = [...new Set(places.map((place) => place % bytes.length))].filter((n) => n > 0).sort((a, b) => a - b);
  return [0, ...at].map((from, n) => bytes.subarray(from, at[n] ?? bytes.length));
}

async function transcript(
  port: number,
  script: Script,
  cas: bigint,
  last: [Buffer, string],
  places: readonly number[],
) {
  const said = script(cas);
  const bytes = Buffer.concat([typeof said === "string" ? Buffer.from(said, "latin1") : said, last[0]]);
  const talk = await Talk.to({ port });
  for (const piece of cut(bytes, places)) {
    talk.send(piece);
    if (places.length > 0) await new Promise(setImmediate);
  }
  await talk.until(last[1]);
  talk.close();
  return soften(talk.text);
}

/** Empties the server; the CAS number that it gave out last. */
async function fresh(port: number): Promise<bigint> {
  const talk = await Talk.to({ port });
  talk.send("flush_all\r\nset fresh 0 0 0\r\n\r\ngets fresh\r\n");
  const text = await talk.until("END\r\n");
  talk.send("delete fresh\r\n");
  await talk.until("DELETED\r\n");
  talk.close();
  return BigInt(/VALUE fresh 0 0 (\d+)/.exec(text)![1]!);
}

describe.each([
  ["the usual way", false],
  ["with a relay", true],
])("the door says what memcached says, %s", (_, relayed) => {
  let alone: RunningServer;
  let behind: RunningServer;
  let over: DoorOver;
  let relay: TestRelay;

  beforeAll(async () => {
    [alone, behind] = await Promise.all([startMemcached(), startMemcached()]);
    relay = new TestRelay(behind);
    over = await openDoorOver(behind, { relay: relayed ? relay : null });
  });
  afterAll(async () => {
    if (relayed) expect(relay.begun).toBeGreaterThan(20);
    expect(relay.underWay).toBe(0);
    await over?.close();
    await Promise.all([alone?.stop(), behind?.stop()]);
  });

  const said = async (script: Script, last: [Buffer, string], places: readonly number[] = []) => {
    const cas = await fresh(alone.port);
    expect(await fresh(behind.port)).toBe(cas);
    const expected = await transcript(alone.port, script, cas, last, []);
    expect(await transcript(over.port, script, cas, last, places)).toBe(expected);
  };

  const TEXT_LAST: [Buffer, string] = [Buffer.from("mg none Oover~\r\n"), "EN Oover~\r\n"];
  const BINARY_LAST: [Buffer, string] = [LAST, LAST_REPLY];
  const all = [
    ...Object.entries(TEXT).map(([name, script]) => [`text: ${name}`, script, TEXT_LAST] as const),
    ["text: a line without an end", ENDLESS, [Buffer.alloc(0), "nothing"] as [Buffer, string]] as const,
    ...Object.entries(META).map(([name, script]) => [`meta: ${name}`, script, TEXT_LAST] as const),
    ...Object.entries(BINARY).map(([name, script]) => [`binary: ${name}`, script, BINARY_LAST] as const),
  ];

  test.each(all)("%s", async (_, script, last) => {
    await said(script, last);
    // Every script in some other cuts: close to each other, and anywhere.
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(4_000), { minLength: 1, maxLength: 12 }), (places) =>
        said(script, last, places),
      ),
      { numRuns: 4 },
    );
  });
});
