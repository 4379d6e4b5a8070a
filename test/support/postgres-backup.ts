import { spawnSync } from "node:child_process";
import { appendFileSync, chownSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";
import type { RunningServer } from "../../src/servers/index.js";

/**
 * Takes a base backup. The returned function ends the server and promotes the backup in its place: another timeline,
 * on the same port, that has seen nothing of what came after the backup.
 */
export async function baseBackup(server: RunningServer): Promise<() => Promise<void>> {
  const client = new pg.Client(server.url);
  await client.connect();
  const { rows } = await client.query<{ data: string; version: number }>(
    "SELECT current_setting('data_directory') AS data, current_setting('server_version_num')::int AS version",
  );
  const { data, version } = rows[0]!;
  const backup = `${data}-backup`;
  await client.query(
    version >= 150_000 ? "SELECT pg_backup_start('b', true)" : "SELECT pg_start_backup('b', true, false)",
  );
  copy(data, backup);
  const stop = version >= 150_000 ? "pg_backup_stop(false)" : "pg_stop_backup(false, false)";
  const label = await client.query<{ labelfile: string }>(`SELECT labelfile FROM ${stop}`);
  await client.end();
  rmSync(join(backup, "pg_wal"), { recursive: true });
  copy(join(data, "pg_wal"), join(backup, "pg_wal"));
  for (const name of ["postmaster.pid", "postmaster.opts"]) rmSync(join(backup, name), { force: true });
  const owner = statSync(data);
  const files = { backup_label: label.rows[0]!.labelfile, "recovery.signal": "" };
  for (const [name, text] of Object.entries(files)) {
    writeFileSync(join(backup, name), text);
    chownSync(join(backup, name), owner.uid, owner.gid);
  }
  // There is no archive: recovery ends with the log that the backup has.
  appendFileSync(join(backup, "postgresql.auto.conf"), "restore_command = 'false'\n");

  return async () => {
    await server.kill();
    rmSync(data, { recursive: true });
    renameSync(backup, data);
    await server.restart();
  };
}

/** Files that go while they are copied are what a base backup allows for. */
function copy(from: string, to: string): void {
  spawnSync("cp", ["-a", from, to], { stdio: "ignore" });
}
