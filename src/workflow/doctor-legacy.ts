import type { MemcachedSurvey, PostgresSurvey } from "../ports/survey.js";
import { type Facts, type Finding, fine, type Probe, reach, refused, warning } from "./doctor-facts.js";

/** A probe that applies to a PostgreSQL table alone. */
function postgres(
  name: string,
  guardsSetup: boolean,
  judge: (survey: PostgresSurvey, facts: Facts) => Finding | null,
): Probe {
  return {
    name,
    guardsSetup,
    judge: (facts) => {
      const survey = facts.legacy.facts?.survey;
      return survey?.kind === "postgres" ? judge(survey, facts) : null;
    },
  };
}

function memcached(name: string, judge: (survey: MemcachedSurvey, facts: Facts) => Finding | null): Probe {
  return {
    name,
    guardsSetup: false,
    judge: (facts) => {
      const survey = facts.legacy.facts?.survey;
      return survey?.kind === "memcached" ? judge(survey, facts) : null;
    },
  };
}

/** Where summer time never changes anything, so that every reader of a column without zone means the same moment. */
const STEADY_ZONES = /^(UTC|GMT|Etc\/(UTC|GMT|Universal|Zulu))$/i;

export const LEGACY_PROBES: readonly Probe[] = [
  reach(
    "legacy",
    ({ legacy }) => legacy,
    ({ survey, sessions }, { where }) => {
      if (survey.kind === "postgres") {
        return `PostgreSQL ${survey.version} at ${where.legacy}, table ${survey.table}, ${sessions} live sessions`;
      }
      const versions = [...new Set(survey.servers.map(({ version }) => version))].join(", ");
      return `memcached ${versions} at ${where.legacy}, ${sessions} items`;
    },
  ),
  postgres("legacy-rights", true, ({ missingRights, role, table }) => {
    if (missingRights.length === 0) return fine(`${role} may read, write and delete in ${table}`);
    return refused(
      "GUARD_REFUSED",
      `${role} lacks ${missingRights.join(", ")} on ${table}`,
      `GRANT ${missingRights.join(", ")} ON ${table} TO "${role}";`,
    );
  }),
  postgres("legacy-time-zone", false, ({ zoned, timeZone }) => {
    if (zoned) return fine("the expiry is a timestamp with time zone");
    if (STEADY_ZONES.test(timeZone)) return fine(`the expiry has no time zone of its own and is read as ${timeZone}`);
    return warning(
      `the expiry has no time zone of its own; this role reads it as ${timeZone}, where an hour is ambiguous when summer time ends`,
      "Let the application and sessionferry connect with the same TimeZone: ALTER ROLE ... SET TimeZone tells it for both.",
    );
  }),
  postgres("legacy-expiry", false, ({ withoutExpiry, table }) => {
    if (withoutExpiry === 0) return fine("every row has an expiry");
    return warning(
      `${withoutExpiry} rows have no expiry: the application does not find them, and they do not move`,
      `Delete them, or give them an expiry, if they are wanted: see ${table}.`,
    );
  }),
  postgres("legacy-sizes", false, ({ tooLarge }) => {
    if (tooLarge === 0) return fine("no session is too large for Redis");
    return warning(
      `${tooLarge} sessions are larger than 512 MB and cannot move`,
      "Find out what fills them: these users would be logged out when Redis becomes the authority.",
    );
  }),
  postgres("legacy-pooler", false, ({ pooled }) => {
    if (!pooled) return fine("connected to the server itself");
    return warning(
      "a pooler stands before the server: a dead node's connections cannot be ended by name, so evicting it takes longer",
      "Name the server itself under `legacy.url` where connections allow it; keep `legacy.preparedStatements: false` otherwise.",
    );
  }),
  postgres("legacy-writers", false, ({ others, otherWriters, table }, { config }) => {
    const connected = others.map(({ name, role, connections }) => `${name} as ${role} (${connections})`);
    const told = [
      connected.length === 0 ? "" : `connections that are not ours: ${connected.join(", ")}`,
      otherWriters.length === 0 ? "" : `other roles that may write ${table}: ${otherWriters.join(", ")}`,
    ].filter((text) => text !== "");
    if (told.length === 0) return fine(`nobody else is connected, and no other role may write ${table}`);
    if (config.accept.includes("bypass")) return fine(`${told.join("; ")} (accepted in the configuration)`);
    const roles = otherWriters.map((role) => (role === "PUBLIC" ? role : `"${role}"`)).join(", ");
    const revoke = roles === "" ? "" : ` Then: REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON ${table} FROM ${roles};`;
    return warning(
      told.join("; "),
      `What writes without sessionferry is not mirrored: before dual-write, every writer must use it.${revoke}`,
    );
  }),

  memcached("legacy-fencing", ({ servers }) => {
    const blind = servers.filter(({ seesOurAddress }) => !seesOurAddress).map(({ address }) => address);
    if (blind.length === 0) return fine("the servers see our connections by their own addresses");
    return warning(
      `${blind.join(", ")} see our connections under another address (NAT or a proxy between): nobody can watch a dead node's connections end`,
      "Connect directly where you can; otherwise a dead node is declared by hand: sessionferry nodes evict ID",
    );
  }),
  memcached("legacy-evictions", ({ servers }) => {
    const evicting = servers.filter(({ evictions }) => evictions > 0);
    if (evicting.length === 0) return fine("nothing was thrown out for want of memory");
    return warning(
      `sessions are thrown out for want of memory: ${evicting.map(({ address, evictions }) => `${address} ${evictions}`).join(", ")}`,
      "Users are being logged out already: give memcached more memory. Redis keeps what memcached loses.",
    );
  }),
];
