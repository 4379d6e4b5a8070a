import type { Door, DoorOptions } from "./options.js";

export type * from "./options.js";

/** Resolves when every listener listens; rejects with CONFIG_INVALID where one cannot. */
export async function openDoor(_options: DoorOptions): Promise<Door> {
  throw new Error("not yet");
}
