/** ControlStore over PostgreSQL, Redis and memory. */
export { MemoryControlStore } from "./memory.js";
export { openControl } from "./open.js";
export type { ControlOptions } from "./options.js";
