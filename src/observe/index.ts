/** What a process tells about itself: metrics, logs. */
export { EventLog } from "./event-log.js";
export { fanOut } from "./fan-out.js";
export { errorFields, type Level, Log, type LogOptions } from "./log.js";
export { type FleetFacts, Metrics } from "./metrics.js";
