/** What a control store needs besides its URL. */
export interface ControlOptions {
  /** The namespace: several migrations may share one control store. */
  readonly migration: string;
  /** This process' node id; its connections are called `sessionferry-control:<node>`. */
  readonly node: string;
  /** How long one call may take, connecting included, in milliseconds. Default 3,000. */
  readonly deadline?: number;
  /** TLS options as `tls.connect` takes them, for `rediss://`. */
  readonly tls?: Readonly<Record<string, unknown>>;
}

export const DEFAULT_DEADLINE = 3_000;

export function connectionNameOf(node: string): string {
  return `sessionferry-control:${node}`;
}
