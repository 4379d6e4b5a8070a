import { isDeepStrictEqual } from "node:util";
import { ask, LEGACY, type LegacyName, pages } from "./legacy.js";
import type { PlainStore } from "./peers.js";
import type { Found, PlainRedis } from "./plain-redis.js";
import type { QuietSession } from "./quiet.js";
import type { Account, Truth } from "./truth.js";

/**
 * The demo's last word. It compares what the users know with what *plain* clients read, after every process of ours has
 * ended: no line of the library takes part in it. A line that had nothing to compare fails.
 */
export interface ProofInput {
  readonly truth: Truth;
  readonly quiet: readonly QuietSession[];
  readonly redis: PlainRedis;
  readonly legacy: { readonly name: LegacyName; readonly store: PlainStore };
  /** When `complete` was typed: from then on the legacy store is no longer kept current. Milliseconds. */
  readonly handedOverAt: number;
}

export interface ProofLine {
  readonly ok: boolean;
  readonly claim: string;
  readonly figures: string;
}

const SECOND = 1000;
/** A destroy in full-redis reaches the legacy store with the next round of the drainers. */
const DRAINED_WITHIN = 3 * SECOND;

export async function prove(input: ProofInput): Promise<ProofLine[]> {
  return [
    ...(await proveLive(input)),
    ...(await proveEnded(input)),
    ...(await proveQuiet(input)),
    await proveNothingElse(input),
    ...proveRequests(input.truth),
  ];
}

async function proveLive({ truth, redis, legacy }: ProofInput): Promise<ProofLine[]> {
  const live = truth.accounts.filter((account) => account.state === "alive");
  const tolerance = SECOND + LEGACY[legacy.name].granularity;
  let absent = 0;
  let wrong = 0;
  let early = 0;
  let late = 0;
  await forEach(live, async (account) => {
    const { session, expiresAt } = await redis.find(account.sid);
    if (session === null) {
      absent++;
      return;
    }
    if (!holdsCart(session, account)) wrong++;
    const { earliest, latest } = account.expiry();
    // A key that never expires reads as -1, and counts as late: the session would outlive its user's logout by years.
    if (expiresAt < 0 || expiresAt > latest + tolerance) late++;
    else if (expiresAt < earliest - tolerance) early++;
  });
  const n = live.length;
  return [
    line(n, absent + wrong, "live sessions are in Redis with the cart last acknowledged", [
      [absent, "absent"],
      [wrong, "with another cart"],
    ]),
    line(n, absent + early + late, `they expire when their users were told, within ${tolerance / SECOND} s`, [
      [absent, "absent"],
      [early, "too early"],
      [late, "too late"],
    ]),
  ];
}

function holdsCart(session: unknown, account: Account): boolean {
  const { user, cart } = session as { user?: unknown; cart?: { version?: unknown; items?: unknown } };
  if (user !== account.user || !Array.isArray(cart?.items)) return false;
  return cart.version === cart.items.length && account.accepts(cart.items as string[]);
}

async function proveEnded({ truth, redis, legacy, handedOverAt }: ProofInput): Promise<ProofLine[]> {
  const ended = truth.accounts.filter((account) => account.state === "ended");
  let inRedis = 0;
  await forEach(ended, async (account) => {
    const { session, expiresAt } = await redis.find(account.sid);
    if (session !== null || expiresAt !== -2) inRedis++;
  });
  // What was logged out later stays in the legacy store as a leftover: nobody reads it any more.
  const earlier = ended.filter((account) => account.endedAt < handedOverAt - DRAINED_WITHIN);
  let inLegacy = 0;
  await forEach(earlier, async (account) => {
    if ((await ask(legacy.store, account.sid)) !== null) inLegacy++;
  });
  const title = LEGACY[legacy.name].title;
  return [
    line(ended.length, inRedis, "logged-out sessions are dead in Redis", [[inRedis, "alive"]]),
    line(earlier.length, inLegacy, `those logged out before \`complete\` are dead in ${title} too`, [
      [inLegacy, "alive"],
    ]),
  ];
}

async function proveQuiet({ quiet, redis, legacy }: ProofInput): Promise<ProofLine[]> {
  const tolerance = SECOND + LEGACY[legacy.name].granularity;
  let absent = 0;
  let altered = 0;
  let early = 0;
  let late = 0;
  await forEach(quiet, async ({ sid, value, expiresAt }) => {
    const found: Found = await redis.find(sid);
    if (found.session === null) {
      absent++;
      return;
    }
    if (!isDeepStrictEqual(found.session, JSON.parse(value))) altered++;
    if (found.expiresAt < 0 || found.expiresAt > expiresAt + tolerance) late++;
    else if (found.expiresAt < expiresAt - tolerance) early++;
  });
  const n = quiet.length;
  return [
    line(n, absent + altered, "sessions that no traffic touched are in Redis, unchanged", [
      [absent, "absent"],
      [altered, "altered"],
    ]),
    line(n, absent + early + late, `they expire as before, within ${tolerance / SECOND} s`, [
      [absent, "absent"],
      [early, "too early"],
      [late, "too late"],
    ]),
  ];
}

async function proveNothingElse({ truth, quiet, redis }: ProofInput): Promise<ProofLine> {
  const known = quiet.length + truth.accounts.filter((account) => account.state === "alive").length;
  // Of these nobody can know: a login whose answer, or a logout whose answer, was cut off.
  const unknown = truth.cutOffLogins + truth.accounts.filter((account) => account.state === "ending").length;
  const [sessions, others] = await Promise.all([redis.count(), redis.otherKeys()]);
  const stray = Math.max(0, sessions - known - unknown);
  // One key beside the sessions is ours by right: the seal that says that the migration is complete.
  const marks = Math.max(0, others.length - 1);
  return line(sessions, stray + marks, "sessions in Redis, each with an owner, and no mark of ours is left", [
    [stray, "that nobody knows"],
    [marks, "marks"],
  ]);
}

function proveRequests(truth: Truth): ProofLine[] {
  const stale = truth.count("stale");
  const lost = truth.count("lost");
  const resurrected = truth.count("resurrected");
  const failed = truth.count("failed");
  return [
    line(truth.judged, stale, "reads were compared with the truth at once, none was stale", [[stale, "stale"]]),
    line(truth.judged, lost + resurrected, "of them nobody was logged out, and no logged-out session answered", [
      [lost, "logged out"],
      [resurrected, "resurrected"],
    ]),
    {
      ok: failed === 0,
      claim: "no request failed but those in flight to the process that was killed",
      figures: `${failed} failed, ${truth.cutOff} cut off`,
    },
  ];
}

function line(count: number, faults: number, claim: string, details: readonly [number, string][]): ProofLine {
  const found = details.filter(([number]) => number > 0).map(([number, name]) => `${number} ${name}`);
  return {
    ok: faults === 0 && count > 0,
    claim: `${count.toLocaleString("en")} ${claim}`,
    figures: count === 0 ? "nothing to compare" : found.length === 0 ? "all" : found.join(", "),
  };
}

async function forEach<T>(all: readonly T[], work: (each: T) => Promise<void>): Promise<void> {
  for (const page of pages(all, 500)) await Promise.all(page.map(work));
}

/** The table that ends the demo. */
export function formatProof(lines: readonly ProofLine[]): string {
  return lines.map(({ ok, claim, figures }) => `${ok ? "ok    " : "FAILED"}  ${claim}: ${figures}`).join("\n");
}
