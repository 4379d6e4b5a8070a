import { type ControlRecord, type ControlStore, NotSetUp } from "../ports/control-store.js";
import type { RedisRecords } from "../ports/redis-records.js";

/** Where the migration stands; null where nothing was set up, or nothing is left of it. */
export async function recordIfAny(control: ControlStore): Promise<ControlRecord | null> {
  try {
    return await control.read();
  } catch (error) {
    if (error instanceof NotSetUp) return null;
    throw error;
  }
}

/** Whether any session lies in R. */
export async function isOccupied(records: RedisRecords): Promise<boolean> {
  for await (const page of records.listRecords({ pageSize: 100 })) {
    if (page.length > 0) return true;
  }
  return false;
}
