import { setTimeout as delay } from "node:timers/promises";
import type { Links } from "../integration/fleet.js";
import type { FaultyLink } from "../support/faulty-link.js";
import type { Fault, Ground } from "./faults.js";

/** What happens to a stretch of network, for so many milliseconds. */
const KINDS: readonly (readonly [string, (link: FaultyLink, milliseconds: number, dice: number) => Promise<void>])[] = [
  ["cut", (link, brief) => during(link, brief, () => link.cut())],
  ["cut on the way there", (link, brief) => during(link, brief, () => link.cut("there"))],
  ["cut on the way back", (link, brief) => during(link, brief, () => link.cut("back"))],
  ["cut, then reset", (link, brief) => during(link, brief, () => link.cut()).then(() => link.reset())],
  ["delayed", (link, brief, dice) => during(link, brief, () => link.delay(20 + 300 * dice))],
  ["throttled", (link, brief, dice) => during(link, brief, () => link.throttle(1_000 + 20_000 * dice))],
  ["reset", async (link) => link.reset()],
  ["reset in a reply", (link, brief, dice) => during(link, brief, () => link.resetInReply(1 + Math.floor(4 * dice)))],
  ["refused", (link, brief) => during(link, brief, () => link.refuse())],
];

/** One process and one server, or all processes and one server, lose sight of each other in one way or another. */
export function networkFault({ fleet, random }: Ground): Fault | null {
  const { awake } = fleet;
  const victim = awake[Math.floor(random() * awake.length)];
  const [kind, act] = KINDS[Math.floor(random() * KINDS.length)]!;
  const store = (["legacy", "redis", "control"] as const)[Math.floor(random() * 3)]!;
  const everybody = random() < 0.25;
  const brief = 200 + random() * 4_000;
  const dice = random();
  if (victim === undefined) return null;
  const links = (everybody ? awake : [victim]).map((member) => fleet.linksOf(member)).filter(isThere);
  return {
    kind: `network to ${NAMES[store]} ${kind}`,
    act: async () => void (await Promise.all(links.map((each) => act(each[store], brief, dice)))),
  };
}

const NAMES = { legacy: "the legacy store", redis: "Redis", control: "the control store" } as const;

function isThere(links: Links | undefined): links is Links {
  return links !== undefined;
}

async function during(link: FaultyLink, milliseconds: number, begin: () => void): Promise<void> {
  begin();
  await delay(milliseconds);
  link.heal();
}
