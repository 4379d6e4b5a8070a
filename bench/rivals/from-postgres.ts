/**
 * The script that people write: pages by key, a limit on what is under way, SET NX PX for each session. It keeps nothing
 * apart: what is written or logged out while it runs may be lost or come back. `node from-postgres.js URL TABLE REDIS PREFIX`
 */
import { Redis } from "ioredis";
import pLimit from "p-limit";
import pg from "pg";

const PAGE = 1_000;
const UNDER_WAY = 100;

async function main([url, table, redisUrl, prefix]: string[]): Promise<void> {
  const client = new pg.Client({ connectionString: url! });
  await client.connect();
  const redis = new Redis(redisUrl!);
  const limit = pLimit(UNDER_WAY);
  let copied = 0;
  for (let after = ""; ; ) {
    const { rows } = await client.query(
      `SELECT sid, sess, expire FROM "${table}" WHERE sid > $1 AND expire > now() ORDER BY sid LIMIT ${PAGE}`,
      [after],
    );
    await Promise.all(
      rows.map((row: { sid: string; sess: unknown; expire: Date }) =>
        limit(async () => {
          const left = row.expire.getTime() - Date.now();
          if (left > 0) await redis.set(`${prefix}${row.sid}`, JSON.stringify(row.sess), "PX", left, "NX");
          copied++;
        }),
      ),
    );
    if (rows.length < PAGE) break;
    after = rows.at(-1).sid;
  }
  console.log(copied);
  redis.disconnect();
  await client.end();
}

void main(process.argv.slice(2));
