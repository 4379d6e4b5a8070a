import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RunningServer } from "../../src/servers/index.js";
import { FLOOD, HostileServer, type Malice, malices, type Place, type Units } from "./hostile.js";
import { assertEnds, recovers, Unheard } from "./judge.js";
import { PATIENCE, runs } from "./runs.js";

/** A store over a server whose replies are broken on the way. */
export interface Sufferer<S> {
  start(): Promise<RunningServer>;
  /** What must be there before; over a connection that nobody breaks. */
  prepare?(server: RunningServer): Promise<void>;
  readonly units: Units;
  /** Pieces of the server's language, put where they do not belong. */
  readonly dialect: readonly (string | Buffer)[];
  /** Lines or messages in a long reply. */
  readonly usual: number;
  open(port: number, server: RunningServer): Promise<S>;
  /** Asked until it succeeds, once before where the connection is to be an old one, and once after. */
  well(store: S): Promise<unknown>;
  readonly verbs: Readonly<Record<string, (store: S) => Promise<unknown>>>;
  close(store: S): Promise<void>;
  /** Milliseconds within which every verb ends. */
  readonly within: number;
  readonly runs: number;
  /** The shortest that the search has found, kept. */
  readonly found: readonly (readonly [what: string, Malice, verb: string, greeted: boolean])[];
  /** Replies that never end, each with the verb that gets it. */
  readonly floods: readonly (readonly [bytes: string | Buffer, verb: string, at?: Place])[];
}

export const FIRST: Place = { count: "units", from: 0 };

/** These bytes instead of the first line or message of a reply, and nothing after them. */
export function said(bytes: string | Buffer, at: Place = FIRST): Malice {
  return { do: "replace", at, bytes: Buffer.from(bytes as string) };
}

export function suffers<S>(title: string, sufferer: Sufferer<S>): void {
  const { verbs, within } = sufferer;

  describe(title, () => {
    let server: RunningServer;
    let hostile: HostileServer;
    const unheard = new Unheard();

    beforeAll(async () => {
      server = await sufferer.start();
      await sufferer.prepare?.(server);
      hostile = await HostileServer.start(server, sufferer.units);
      unheard.listen();
    });
    afterAll(async () => {
      unheard.close();
      await hostile?.close();
      await server?.stop();
    });

    async function suffer(malice: Malice, verb: string, greeted: boolean, more = 0): Promise<void> {
      hostile.turn(greeted ? null : malice);
      const opened = await assertEnds(sufferer.open(hostile.port, server), within);
      if (opened === undefined) return unheard.assertNone();
      try {
        if (greeted) {
          await recovers(() => sufferer.well(opened));
          hostile.turn(malice);
        }
        await assertEnds(verbs[verb]!(opened), within + more);
        hostile.turn(null);
        await recovers(() => sufferer.well(opened));
        await unheard.assertNone();
      } finally {
        await sufferer.close(opened);
      }
    }

    for (const [what, malice, verb, greeted] of sufferer.found) {
      it(`found: ${what}`, () => suffer(malice, verb, greeted));
    }

    for (const [bytes, verb, at = FIRST] of sufferer.floods) {
      it(`cuts off what has no end: ${JSON.stringify(String(bytes).slice(0, 20))}, to ${verb}`, async () => {
        // Megabytes take their time on a busy machine; that they are cut off at all is the point.
        await suffer({ do: "flood", at, bytes: Buffer.from(bytes as string) }, verb, true, 10_000);
        expect(hostile.poured).toBeGreaterThan(0);
        expect(hostile.poured).toBeLessThan(FLOOD);
      });
    }

    it("ends every call in time, by an answer or an error of the catalogue", { timeout: PATIENCE }, async () => {
      const verb = fc.constantFrom(...Object.keys(verbs));
      const malice = malices(sufferer.dialect, sufferer.usual);
      await fc.assert(
        fc.asyncProperty(malice, verb, fc.boolean(), (...how) => suffer(...how)),
        runs(sufferer.runs),
      );
    });
  });
}
