import type { RunningServer, ServerName } from "./server.js";

export interface ContainerOptions {
  readonly command: readonly string[];
  url(port: number): string;
  readonly port?: number | undefined;
}

/** Runs a server in Docker, or answers null where testcontainers is not installed or no engine answers. */
export async function startContainer(_name: ServerName, _options: ContainerOptions): Promise<RunningServer | null> {
  return null;
}
