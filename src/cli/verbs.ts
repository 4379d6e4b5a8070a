import type { CommandModule } from "./command.js";

/**
 * The verbs with one line each. A verb's module is imported only when it is the one to run, so that `--help` and a
 * typing error cost nothing and `phase list` needs no driver.
 */
export interface Verb {
  readonly name: string;
  readonly describe: string;
  /** Left out of the list of commands. */
  readonly hidden?: boolean;
  /** What the verb does by itself; absent where it needs another word. */
  readonly load?: () => Promise<{ readonly command: CommandModule }>;
  readonly verbs?: readonly Verb[];
}

export const VERBS: readonly Verb[] = [
  {
    name: "doctor",
    describe: "Look at the stores before anything is changed, and say what forbids to go on",
    load: () => import("./commands/doctor.js"),
  },
  {
    name: "setup",
    describe: "Install the control record and seal Redis for this migration",
    load: () => import("./commands/setup.js"),
  },
  {
    name: "status",
    describe: "Where the migration stands, and the next command to type",
    load: () => import("./commands/status.js"),
  },
  {
    name: "phase",
    describe: "See the phases and walk between them",
    verbs: [
      {
        name: "list",
        describe: "The phases in their order",
        load: () => import("./commands/phase-list.js"),
      },
      {
        name: "show",
        describe: "One phase with its routes and gates",
        load: () => import("./commands/phase-show.js"),
      },
      {
        name: "history",
        describe: "Who did what, and why",
        load: () => import("./commands/phase-history.js"),
      },
      {
        name: "advance",
        describe: "Take the next ramp step or phase, if its gates pass",
        load: () => import("./commands/phase-advance.js"),
      },
      {
        name: "rollback",
        describe: "Go back to the phase below, or further down step by step",
        load: () => import("./commands/phase-rollback.js"),
      },
    ],
  },
  {
    name: "backfill",
    describe: "Copy every live session to Redis",
    load: () => import("./commands/backfill.js"),
    verbs: [
      {
        name: "status",
        describe: "How far the backfill is",
        load: () => import("./commands/backfill-status.js"),
      },
      {
        name: "pause",
        describe: "Let a running backfill wait",
        load: () => import("./commands/backfill-pause.js"),
      },
      {
        name: "resume",
        describe: "Let a paused backfill go on",
        load: () => import("./commands/backfill-resume.js"),
      },
      {
        name: "stop",
        describe: "End a running backfill; the next one goes on from its checkpoint",
        load: () => import("./commands/backfill-stop.js"),
      },
    ],
  },
  {
    name: "check",
    describe: "Compare both stores, session by session",
    load: () => import("./commands/check.js"),
    verbs: [
      {
        name: "show",
        describe: "What a check found",
        load: () => import("./commands/check-show.js"),
      },
    ],
  },
  {
    name: "worker",
    describe: "Do batches of a backfill or a check that was started with --workers",
    load: () => import("./commands/worker.js"),
  },
  {
    name: "session",
    describe: "Look at one session",
    verbs: [
      {
        name: "show",
        describe: "Where one session stands, never its value; reads the id from stdin",
        load: () => import("./commands/session-show.js"),
      },
    ],
  },
  {
    name: "revoke",
    describe: "Destroy sessions in both stores by the protocol (log out everywhere)",
    load: () => import("./commands/revoke.js"),
  },
  {
    name: "nodes",
    describe: "The nodes that take part",
    load: () => import("./commands/nodes.js"),
    verbs: [
      {
        name: "evict",
        describe: "Declare a node dead and fence it off",
        load: () => import("./commands/nodes-evict.js"),
      },
    ],
  },
  {
    name: "cleanup",
    describe: "Remove what sessionferry left, after complete or back in legacy",
    load: () => import("./commands/cleanup.js"),
  },
  {
    name: "proxy",
    describe: "Serve memcached's clients: the door for applications in any language",
    load: () => import("./commands/proxy.js"),
  },
  {
    name: "presets",
    describe: "The formats of sessions that are known, and what each can move to",
    load: () => import("./commands/presets.js"),
  },
  {
    name: "demo",
    describe: "Show a whole migration on servers started for it",
    load: () => import("./commands/demo.js"),
  },
  {
    name: "servers",
    describe: "Find or install the servers that tests and demo need",
    hidden: true,
    load: () => import("./commands/servers.js"),
  },
];
