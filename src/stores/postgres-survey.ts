import { PostgresClient } from "../control/postgres-client.js";
import { secretsOf } from "../control/redact.js";
import type { ControlRights, PostgresSurvey } from "../ports/survey.js";
import type { PostgresFacts } from "./postgres-describe.js";
import { shownUrl, unreachable } from "./postgres-errors.js";
import { MARKER, quoteIdentifier } from "./postgres-sql.js";

export interface SurveyTarget {
  readonly url: string;
  /** The value's and the id's column. */
  readonly columns: { readonly sid: string; readonly value: string };
  /** Milliseconds for each question. */
  readonly deadline: number;
}

/** Redis takes no value larger than this. */
const LARGEST = 512 * 1024 * 1024;
/** PostgreSQL's best compression of a long text; below this size on disk nothing can be larger than `LARGEST`. */
const LARGEST_COMPRESSED = LARGEST / 256;

/** Looks at a session table as the doctor wants it: sizes, strangers, rights. Opens one connection and closes it. */
export async function surveyPostgres(facts: PostgresFacts, target: SurveyTarget): Promise<PostgresSurvey> {
  const { version, role, timeZone, table, zoned, missingRights, withoutExpiry, pooled } = facts;
  const readable = !missingRights.includes("SELECT");
  const [sid, value] = [quoteIdentifier(target.columns.sid), quoteIdentifier(target.columns.value)];
  return connected(target.url, target.deadline, async (ask) => {
    const [size] = readable
      ? await ask<{ bytes: number | null }>(
          `SELECT avg(octet_length(v) + octet_length(k))::float8 AS bytes
             FROM (SELECT ${value}::text AS v, ${sid}::text AS k FROM ${table} LIMIT 1000) AS sample`,
        )
      : [];
    const [large] = readable
      ? await ask<{ count: number }>(
          `SELECT count(*)::int AS count FROM ${table} WHERE CASE WHEN pg_column_size(${value}) > $1
             THEN octet_length(${value}::text) > $2 ELSE false END`,
          [LARGEST_COMPRESSED, LARGEST],
        )
      : [];
    const others = await ask<{ name: string; role: string; connections: number }>(
      `SELECT coalesce(nullif(application_name, ''), '(no name)') AS name, usename::text AS role,
         count(*)::int AS connections FROM pg_stat_activity AS a
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name NOT LIKE 'sessionferry%'
         AND coalesce(to_jsonb(a) ->> 'backend_type', 'client backend') = 'client backend'
         GROUP BY 1, 2 ORDER BY 3 DESC, 1 LIMIT 20`,
    );
    // The owner, and whoever was granted a writing right; superusers may write everything and are not told.
    const writers = await ask<{ role: string }>(
      `SELECT DISTINCT role FROM pg_class AS c, LATERAL (
           SELECT pg_get_userbyid(c.relowner)::text UNION
           SELECT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee)::text END FROM aclexplode(c.relacl)
             WHERE privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE')) AS w (role)
         WHERE c.oid = to_regclass($1) AND role <> current_user ORDER BY 1`,
      [table],
    );
    return {
      kind: "postgres",
      ...{ version, role, timeZone, table, zoned, missingRights, withoutExpiry, pooled },
      averageBytes: size?.bytes ?? null,
      tooLarge: large?.count ?? 0,
      others,
      otherWriters: writers.map((writer) => writer.role),
    };
  });
}

/** Whether the role of a control store's URL may make, or has, the schema `sessionferry`. */
export function surveyControl(url: string, deadline: number): Promise<ControlRights> {
  return connected(url, deadline, async (ask) => {
    const [row] = await ask<ControlRights>(
      `SELECT current_setting('server_version') AS version, current_user::text AS role,
         quote_ident(current_database()) AS database,
         CASE WHEN to_regnamespace('sessionferry') IS NULL THEN has_database_privilege(current_database(), 'CREATE')
           ELSE has_schema_privilege('sessionferry', 'USAGE') END AS "mayInstall"`,
    );
    return row!;
  });
}

type Ask = <T>(text: string, values?: readonly unknown[]) => Promise<T[]>;

async function connected<T>(address: string, deadline: number, work: (ask: Ask) => Promise<T>): Promise<T> {
  const url = new URL(address);
  url.searchParams.delete("application_name");
  const client = new PostgresClient({
    connectionString: url.href,
    application_name: "sessionferry:doctor",
    connectionTimeoutMillis: deadline,
    query_timeout: Math.max(deadline, 60_000),
  });
  client.on("error", () => {});
  try {
    await client.connect();
    return await work(async <R>(text: string, values: readonly unknown[] = []) => {
      const { rows } = await client.query({ text: `${MARKER} ${text}`, values: [...values] });
      return rows as R[];
    });
  } catch (error) {
    throw unreachable(error, shownUrl(url), secretsOf(url.href));
  } finally {
    client.end().catch(() => {});
  }
}
