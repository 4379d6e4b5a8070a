import type { FerryEvent, Observer } from "../ports/observer.js";
import { errorFields, type Log } from "./log.js";

/** Tells of the events that people should know of; single requests are for the metrics. */
export class EventLog implements Observer {
  constructor(readonly log: Log) {}

  event(event: FerryEvent): void {
    const { log } = this;
    switch (event.type) {
      case "mirror-failure": {
        const { failedOn, verb, error } = event;
        log.limited("warn", `mirroring failed on ${failedOn}`, () => ({ verb, ...errorFields(error) }));
        break;
      }
      case "gap":
        if (event.size > 0) log.limited("warn", "writes go to the legacy store alone", () => ({ gap: event.size }));
        break;
      case "swept":
        if (event.count > 0) log.info("closed intents of nodes that are gone", { count: event.count });
        break;
      case "redis":
        if (event.state === "up") log.info("Redis is up");
        else log.warn(`Redis is ${event.state}`);
        break;
      case "control":
        if (event.state === "up") log.info("the control store is up");
        else log.warn("the control store is down");
        break;
      case "routes": {
        const { phase, percent, revision } = event;
        log.info("took new routes", { phase, percent, revision });
        break;
      }
      case "evicted":
        log.error("this process was taken for dead and fenced off");
        break;
      case "background-error":
        log.limited("error", `${event.task} failed`, () => errorFields(event.error));
        break;
      case "operation":
      case "relayed":
      case "read-through":
      case "drained":
      case "acknowledged":
        break;
    }
  }
}
