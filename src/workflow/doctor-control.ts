import { type Facts, type Finding, fine, type Probe, reach, refused, warning } from "./doctor-facts.js";

export const CONTROL_PROBES: readonly Probe[] = [
  reach(
    "control",
    ({ control }) => control,
    ({ kind, rights }, { where }) =>
      `${kind === "postgres" ? `PostgreSQL ${rights?.version ?? ""}` : "Redis"} at ${where.control}`,
  ),
  {
    name: "control-rights",
    guardsSetup: true,
    judge: ({ control }) => {
      const rights = control.facts?.rights ?? null;
      if (rights === null) return null;
      if (rights.mayInstall) return fine(`${rights.role} may keep the schema sessionferry`);
      return refused(
        "GUARD_REFUSED",
        `${rights.role} may neither use nor make the schema sessionferry in ${rights.database}`,
        `GRANT CREATE ON DATABASE ${rights.database} TO "${rights.role}";`,
      );
    },
  },
  {
    name: "control-place",
    guardsSetup: false,
    judge: ({ servers, control }) => {
      if (control.facts === null) return null;
      const withRedis = servers.control.some((server) => servers.redis.includes(server));
      if (!withRedis) return fine("the migration can be steered while Redis is down");
      return warning(
        "the control store is on the Redis of the migration: nothing can be steered while it is down",
        "Name a PostgreSQL or another Redis under `control.url` if that is not meant.",
      );
    },
  },
  {
    name: "control-record",
    guardsSetup: false,
    judge: ({ control, config }) => {
      if (control.facts === null) return null;
      const { record } = control.facts;
      if (record === null) return fine(`no migration ${config.migration} yet; next: sessionferry setup`);
      const { phase, percent } = record.position;
      return fine(`the migration ${config.migration} stands at ${phase} ${percent} %`);
    },
  },
];

/** The one question that concerns all stores. */
export const CLOCKS: Probe = { name: "clocks", guardsSetup: false, judge: judgeClocks };

/** Clocks further apart than this make nonsense of every expiry. */
const HOPELESS = 60_000;

function judgeClocks({ legacy, redis, control, config }: Facts): Finding | null {
  const skews = [
    { name: "the legacy store", skew: legacy.facts?.skew, slack: legacy.facts?.granularity ?? 0 },
    { name: "Redis", skew: redis.facts?.skew, slack: 0 },
    { name: "the control store", skew: control.facts?.skew, slack: 0 },
  ].flatMap(({ name, skew, slack }) => (skew === undefined ? [] : [{ name, skew, slack }]));
  if (skews.length === 0) return null;
  const told = skews.map(({ name, skew }) => `${name} ${skew >= 0 ? "+" : ""}${skew} ms`).join(", ");
  const remedy = "Synchronise the clocks (NTP) of this host and of the servers named.";
  // A store that counts whole seconds is up to one of them behind by its nature.
  const off = (limit: number) => skews.some(({ skew, slack }) => Math.abs(skew) > limit + slack);
  if (off(HOPELESS)) return refused("GUARD_REFUSED", `clocks are apart from this host's: ${told}`, remedy);
  if (off(config.gates.ttlTolerance)) return warning(`clocks are apart from this host's: ${told}`, remedy);
  return fine(`against this host's: ${told}`);
}
