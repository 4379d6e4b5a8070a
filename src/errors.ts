/** The error catalogue: every error that people or scripts see has an entry here, and RUNBOOK.md explains each code. */

export const EXIT = {
  done: 0,
  unexpected: 1,
  usage: 2,
  refused: 3,
  inconsistent: 4,
  unreachable: 5,
  pending: 6,
  held: 7,
  interrupted: 130,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

interface Entry {
  readonly exit: ExitCode;
  /** What to do about it, in one sentence or two. */
  readonly remedy: string;
  /** True when the same call may succeed later without anybody's hand. */
  readonly retryable: boolean;
}

const entry = (exit: ExitCode, retryable: boolean, remedy: string): Entry => ({ exit, retryable, remedy });

export const CATALOGUE = {
  UNEXPECTED: entry(EXIT.unexpected, false, "This is a defect of sessionferry: report it with the text above."),
  USAGE: entry(EXIT.usage, false, "Run the command with --help."),
  CONFIG_INVALID: entry(
    EXIT.usage,
    false,
    "Correct the keys named above in the configuration and run the command again.",
  ),
  CONFIG_NOT_FOUND: entry(
    EXIT.usage,
    false,
    "Create sessionferry.yaml, or name the file with --config or SESSIONFERRY_CONFIG.",
  ),
  QUESTION_UNANSWERED: entry(EXIT.usage, false, "Add --yes, or run the command on a terminal and answer."),
  PHASE_UNSAFE: entry(
    EXIT.usage,
    false,
    "Restore the phase files of the package; only ramps and gates may be changed, in the configuration.",
  ),
  NOT_SET_UP: entry(EXIT.refused, false, "Run: sessionferry setup"),
  GATE_REFUSED: entry(EXIT.refused, false, "Do what each line above names, then repeat the command."),
  GUARD_REFUSED: entry(
    EXIT.refused,
    false,
    "Remove the cause named above, or accept the risk by name under `accept` where that is offered.",
  ),
  PREFIX_IN_USE: entry(
    EXIT.refused,
    false,
    "Choose another prefix or Redis, clean the prefix, or run setup with --adopt if these keys may be dropped.",
  ),
  SAME_STORE: entry(EXIT.refused, false, "Point `redis.url` at a server that is not the legacy store."),
  EVICTION_POLICY: entry(
    EXIT.refused,
    false,
    "Set maxmemory-policy to noeviction, or add `eviction` to `accept` in the configuration.",
  ),
  TABLE_UNSUITABLE: entry(
    EXIT.refused,
    false,
    "Name the session table of the preset with `legacy.table`, or choose the preset that wrote it.",
  ),
  VERSION_UNSUPPORTED: entry(
    EXIT.refused,
    false,
    "Update that server to a version that `sessionferry doctor` accepts.",
  ),
  PROTOCOL_MISMATCH: entry(EXIT.refused, false, "Bring every node to the same release, then repeat the command."),
  IRREVERSIBLE: entry(EXIT.refused, false, "complete cannot be undone; restore from a backup if you must."),
  INCONSISTENT: entry(
    EXIT.inconsistent,
    false,
    "Look at: sessionferry check show; then run: sessionferry check --repair, and check again.",
  ),
  LEGACY_UNREACHABLE: entry(
    EXIT.unreachable,
    true,
    "Bring the legacy store back or correct `legacy.url`; nothing was changed.",
  ),
  LEGACY_REFUSED: entry(
    EXIT.unreachable,
    true,
    "The legacy store answers but does not carry the command out; the text above names its own code. Nothing was changed.",
  ),
  REDIS_UNREACHABLE: entry(EXIT.unreachable, true, "Bring Redis back or correct `redis.url`; nothing was changed."),
  REDIS_REFUSED: entry(
    EXIT.unreachable,
    true,
    "Redis answers but takes no writes: give it memory, or point `redis.url` at the master; nothing was changed.",
  ),
  CONTROL_UNREACHABLE: entry(
    EXIT.unreachable,
    true,
    "Bring the control store back or correct `control.url`; sessions go on being served meanwhile.",
  ),
  CONTROL_REFUSED: entry(
    EXIT.unreachable,
    true,
    "The control store answers but does not carry the statement out; the text above names its own code. Sessions go on being served meanwhile.",
  ),
  AUTHENTICATION_FAILED: entry(EXIT.unreachable, false, "Correct the user or password in the URL named above."),
  REDIS_LOST: entry(
    EXIT.refused,
    false,
    "Redis lost its data: see RUNBOOK.md, Redis came back empty. From redis-first on: sessionferry phase rollback --to dual-write --redis-lost --reason TEXT",
  ),
  TRANSITION_PENDING: entry(
    EXIT.pending,
    true,
    "Repeat the same command to finish the transition, or take it back: see RUNBOOK.md, Pending transitions.",
  ),
  HELD: entry(
    EXIT.held,
    true,
    "Another command holds the migration: wait for it, or for its lock to run out (15 s after it died).",
  ),
  OVERTAKEN: entry(
    EXIT.refused,
    false,
    "Look at what moved the migration: sessionferry phase history; then at what to do now: sessionferry status",
  ),
  INTERRUPTED: entry(EXIT.interrupted, true, "Repeat the command; it goes on where it stopped."),
  DEADLINE: entry(EXIT.unreachable, true, "The store did not answer within its deadline; repeat the request."),
  OUTCOME_UNKNOWN: entry(
    EXIT.unreachable,
    true,
    "The write may or may not have been carried out; read the session before repeating it.",
  ),
  NODE_EVICTED: entry(
    EXIT.refused,
    true,
    "This process was taken for dead and fenced off; it joins again by itself, else restart it.",
  ),
  REVISION_WENT_BACK: entry(
    EXIT.refused,
    false,
    "The control store was restored to an older state: stop the fleet and see RUNBOOK.md, Control store.",
  ),
  CLOSED: entry(EXIT.refused, false, "This ferry was closed; create a new one."),
  KEY_TOO_LONG: entry(
    EXIT.refused,
    false,
    "The store takes keys of at most 250 bytes; shorten the session id or its prefix.",
  ),
  VALUE_TOO_LARGE: entry(
    EXIT.refused,
    false,
    "Redis takes at most 512 MB and memcached 1 MiB by default: make the session smaller.",
  ),
  VALUE_INVALID: entry(EXIT.refused, false, "The legacy table holds JSON only: store a value that is valid JSON."),
  SERVER_MISSING: entry(EXIT.usage, false, "Install what is named above, or run with --install on Debian or Ubuntu."),
} as const satisfies Record<string, Entry>;

export type ErrorCode = keyof typeof CATALOGUE;

export interface ErrorOptions {
  readonly cause?: unknown;
  /** Replaces the catalogue's remedy where the situation allows a more exact one. */
  readonly remedy?: string;
  /** What was changed before the failure; "nothing" unless told. */
  readonly changed?: string;
  /** The command to type next. */
  readonly next?: string;
}

/** The one error class that leaves sessionferry. Its texts never hold a session id, a value or a password. */
export class FerryError extends Error {
  override readonly name = "FerryError";
  readonly remedy: string;
  readonly exit: ExitCode;
  readonly retryable: boolean;
  readonly changed: string;
  readonly next: string | null;

  constructor(
    readonly code: ErrorCode,
    message: string,
    options: ErrorOptions = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    const entry = CATALOGUE[code];
    this.remedy = options.remedy ?? entry.remedy;
    this.exit = entry.exit;
    this.retryable = entry.retryable;
    this.changed = options.changed ?? "nothing";
    this.next = options.next ?? null;
  }

  /** The same error, of whose caller it is known by now what he has changed, and perhaps what he can do about it. */
  having(changed: string, remedy = this.remedy): FerryError {
    const { code, message, next, cause } = this;
    return new FerryError(code, message, { remedy, changed, cause, ...(next !== null && { next }) });
  }

  toJSON(): { error: { code: ErrorCode; message: string; remedy: string; changed: string; next: string | null } } {
    const { code, message, remedy, changed, next } = this;
    return { error: { code, message, remedy, changed, next } };
  }
}
