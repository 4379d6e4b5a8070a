import { z } from "zod";
import { DAY, duration, flag, HOUR, MINUTE, SECOND, section, text, whole } from "./fields.js";

/** The section of the memcached door. */

const MIB = 1024 * 1024;
const HOST_PORT = /^(\[[0-9a-fA-F:.]+\]|[^\s:/]+):\d{1,5}$/;
/** Port 0 asks the system for a free one; whatever holds a slash is the path of a unix socket. */
const LISTEN = new RegExp(`${HOST_PORT.source}|^\\S*/\\S+$`);

const SASL_TEXT = /^[^\0]{1,255}$/;

export const proxy = section({
  listeners: z
    .array(
      section({
        listen: text(LISTEN, "must have the form host:port, or be the path of a unix socket"),
        server: text(HOST_PORT, "must have the form host:port"),
      }),
      { error: "must be a list" },
    )
    .max(100, { error: "must have at most 100 entries" })
    .default([])
    .describe("Where memcached's clients connect, and the memcached of `legacy.url` that each listener stands for."),
  http: text(new RegExp(`^none$|${HOST_PORT.source}`), "must have the form host:port, or be none")
    .default("none")
    .describe("Where /healthz, /readyz and /metrics are served; none for nowhere."),
  allowFlush: flag()
    .default(false)
    .describe("Carry out flush_all, which ends everybody's session, instead of refusing it."),
  sasl: z
    .array(
      section({
        user: text(SASL_TEXT, "must be 1 to 255 characters"),
        password: text(SASL_TEXT, "must be 1 to 255 characters"),
      }),
      { error: "must be a list" },
    )
    .default([])
    .describe("Accounts of which each client must name one (SASL PLAIN); none where the list is empty."),
  tls: z
    .record(z.string(), z.unknown(), { error: "must be a section with options of Node's tls.createServer" })
    .default({})
    .describe(
      "With cert and key (PEM, or the paths of files) the listeners speak TLS alone; ca and requestCert ask for clients' certificates.",
    ),
  tokens: flag()
    .default(true)
    .describe(
      "Give out CAS numbers; without them binary clients' reads are cheaper, and cas always fails, as with memcached -C.",
    ),
  limits: section({
    connections: whole(1, 1e6).default(1024).describe("Clients at once, over all listeners."),
    itemSize: whole(1024, 1024 * MIB)
      .default(MIB)
      .describe("Bytes of the longest value, as memcached's -I."),
    memory: whole(MIB, 1024 * 1024 * MIB)
      .default(256 * MIB)
      .describe("Bytes of unfinished commands and of replies not taken yet, over all clients."),
    idle: duration({ min: 0, max: 30 * DAY, told: "at most 30d" })
      .default(0)
      .describe("A client that sends nothing for so long is hung up on; 0 for never."),
    stall: duration({ min: SECOND, max: HOUR, told: "from 1s to 1h" })
      .default(MINUTE)
      .describe("How long a command may take to arrive whole, and a reply to be taken."),
  }).prefault({}),
})
  .prefault({})
  .describe("The memcached door: sessionferry proxy.");
