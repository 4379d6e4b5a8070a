import type { Config } from "../core/config.js";
import type { ExitCode } from "../errors.js";
import type { Options, Values } from "./options.js";
import type { Output } from "./output.js";

export interface Question {
  /** A sentence that says what will happen, ending with a question mark. */
  readonly text: string;
  /** The value of --yes. */
  readonly yes: boolean;
  /** A word that must be typed instead of y, for what cannot be undone. */
  readonly typed?: string;
}

/** What a command is given. */
export interface Context {
  /** Loads the configuration at the first call. @throws FerryError CONFIG_INVALID, CONFIG_NOT_FOUND */
  config(): Config;
  /** The URLs that were given as flags, for the one command that has no configuration of its own to put them over. */
  readonly urls: {
    readonly legacy?: string | undefined;
    readonly redis?: string | undefined;
    readonly control?: string | undefined;
  };
  readonly output: Output;
  /** Aborted by the first Ctrl-C. */
  readonly signal: AbortSignal;
  /** Resolves on yes. @throws FerryError QUESTION_UNANSWERED on no, or where nobody can be asked */
  confirm(question: Question): Promise<void>;
  readonly stdin: NodeJS.ReadableStream;
  /** Who runs the command, for the ledger. */
  readonly by: string;
  readonly verbose: boolean;
}

/** How a command ended; `silent` where it has printed its lines itself. */
export type CommandResult =
  | { readonly json: unknown; readonly text: string; readonly exit?: ExitCode }
  | { readonly silent: true; readonly exit?: ExitCode };

export interface CommandDefinition<P extends Options, O extends Options> {
  /** Values by place, in their order; the last ones may be optional. */
  readonly positionals?: P;
  readonly options?: O;
  /** Command lines with a word on each, shown by --help. */
  readonly examples: readonly (readonly [line: string, describe: string])[];
  run(context: Context, values: Values<P> & Values<O>): Promise<CommandResult>;
}

/** A command as the frame sees it, its options' types gone. */
export interface CommandModule {
  readonly positionals: Options;
  readonly options: Options;
  readonly examples: CommandDefinition<Options, Options>["examples"];
  run(context: Context, values: Readonly<Record<string, unknown>>): Promise<CommandResult>;
}

// biome-ignore lint/complexity/noBannedTypes: a command without options has none.
export function defineCommand<P extends Options = {}, O extends Options = {}>(
  definition: CommandDefinition<P, O>,
): CommandModule {
  return {
    positionals: definition.positionals ?? {},
    options: definition.options ?? {},
    examples: definition.examples,
    run: (context, values) => definition.run(context, values as Values<P> & Values<O>),
  };
}
