/** A server that was started for a test or the demo, on a loopback port of its own. */
export interface RunningServer {
  readonly url: string;
  readonly host: string;
  readonly port: number;
  /** Of the process that runs now; it changes with restart(). */
  readonly pid: number;
  /** Ends it in good order and waits; a stopped server stays stopped. */
  stop(): Promise<void>;
  /** SIGKILL, to its children too. */
  kill(): Promise<void>;
  /** Starts it again on the same port and folder, stopping it first if it runs. */
  restart(): Promise<void>;
  /** SIGSTOP, to its children too: connections stay open and nothing answers. */
  pause(): void;
  resume(): void;
}

/** What can be started. */
export type ServerName = "redis" | "memcached" | "postgres";
