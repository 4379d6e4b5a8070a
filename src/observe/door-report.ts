import type { Door, DoorEvent } from "../doors/memcached/options.js";
import { errorFields, type Log } from "./log.js";
import { family, type Sample } from "./prometheus.js";

/** What the memcached door tells of itself: lines for people, and figures for a scraper. */

export function logDoorEvent(log: Log, event: DoorEvent): void {
  switch (event.type) {
    case "door-failure":
      log.limited("warn", "a command was answered with an error", () => ({
        verb: event.verb,
        ...errorFields(event.error),
      }));
      break;
    case "door-refusal":
      log.limited("warn", `clients are refused: ${event.reason}`, () => ({}));
      break;
    case "door-cut":
      log.limited("warn", `a client was cut off: ${event.reason}`, () => ({}));
      break;
    case "door-connection":
      break;
  }
}

export function renderDoor({ connections, counters }: Pick<Door, "connections" | "counters">): string {
  const counter = (name: string, help: string, value: number) => family(name, "counter", help, [{ value }]);
  const ended: Sample[] = [
    { labels: { why: "refused" }, value: counters.connectionsRefused },
    { labels: { why: "cut" }, value: counters.connectionsCut },
  ];
  return [
    family("door_connections", "gauge", "Clients of the memcached door now.", [{ value: connections }]),
    counter("door_connections_opened_total", "Clients that connected.", counters.connectionsOpened),
    family("door_connections_ended_total", "counter", "Clients that were refused or cut off.", ended),
    // With those that were relayed to memcached as they came, which no verb of the ferry was asked for.
    counter("door_commands_total", "Commands carried out.", counters.commands),
    counter("door_failures_total", "Commands answered with a server error.", counters.failures),
    counter("door_read_bytes_total", "Bytes that came from clients.", counters.bytesRead),
    counter("door_written_bytes_total", "Bytes that went to clients.", counters.bytesWritten),
  ].join("");
}
