import { createInterface, type Interface } from "node:readline/promises";
import { loadConfig, operatorName, terminalEnvironment } from "../config.js";
import type { Config } from "../core/config.js";
import { EXIT, type ExitCode, FerryError } from "../errors.js";
import type { CommandResult, Context, Question } from "./command.js";
import { toFailure, traceOf } from "./failure.js";
import { Output, type Streams } from "./output.js";
import { parse, wantsJson } from "./parse.js";
import { isTerminal } from "./terminal.js";

export interface CliInput extends Streams {
  readonly argv: readonly string[];
  readonly stdin: NodeJS.ReadableStream;
  readonly signal: AbortSignal;
  /** Ends a command that only watches, when nobody reads it any more. */
  readonly stop: () => void;
  readonly version: string;
}

/** Runs one command line and says with which code the process should exit; prints everything, throws nothing. */
export async function runCli(input: CliInput): Promise<ExitCode> {
  const output = new Output(input, wantsJson(input.argv), terminalEnvironment());
  let config: Config | null = null;
  let verbose = false;
  let readerGone = false;
  output.onGone = () => {
    readerGone = true;
    input.stop();
  };
  try {
    const parsed = await parse(input.argv, input.version);
    if (parsed.kind === "print") {
      output.result({ [parsed.what]: parsed.text }, parsed.text);
      return EXIT.done;
    }
    const { command, global, values } = parsed;
    verbose = global.verbose;
    const context: Context = {
      config() {
        const { config: path, legacyUrl, redisUrl, controlUrl } = global;
        config ??= loadConfig({ config: path, flags: { legacyUrl, redisUrl, controlUrl } });
        return config;
      },
      urls: { legacy: global.legacyUrl, redis: global.redisUrl, control: global.controlUrl },
      output,
      signal: input.signal,
      confirm: (question) => confirm(question, input),
      stdin: input.stdin,
      by: operatorName(),
      verbose,
    };
    const exit = report(await command.run(context, values), output);
    // A watching command that nobody reads any more has done what it was for.
    return readerGone && exit === EXIT.interrupted ? EXIT.done : exit;
  } catch (error) {
    const failure = toFailure(error, config);
    if (failure.code === "INTERRUPTED" && readerGone) return EXIT.done;
    output.failure(failure);
    if (verbose) output.log(traceOf(failure, config));
    return failure.exit;
  } finally {
    await output.flush();
  }
}

function report(result: CommandResult, output: Output): ExitCode {
  if (!("silent" in result)) output.result(result.json, result.text);
  return result.exit ?? EXIT.done;
}

/** How long a word that must be typed may take to come through a pipe. */
const PIPE_PATIENCE = 3_000;

/**
 * Asks on the terminal; the question goes to stderr, so that stdout stays the result's. Without a terminal nobody can
 * be asked; only a word that must be typed may also come through a pipe, since nobody pipes a migration's name by
 * accident.
 */
export async function confirm(question: Question, input: CliInput): Promise<void> {
  if (question.yes) return;
  const asked = isTerminal(input.stdin) && isTerminal(input.stderr);
  if (!asked && question.typed === undefined) throw unanswered(question);
  const lines = createInterface({ input: input.stdin, ...(asked && { output: input.stderr }) });
  try {
    const hint = question.typed === undefined ? "[y/N]" : `Type ${question.typed} to go on:`;
    const answer = asked
      ? await lines.question(`${question.text} ${hint} `, { signal: input.signal })
      : await firstLine(lines);
    if (answer === null) throw unanswered(question);
    const typed = answer.trim();
    const agreed = question.typed === undefined ? /^y(es)?$/i.test(typed) : typed === question.typed;
    if (!agreed) {
      throw new FerryError("QUESTION_UNANSWERED", "the answer was no", {
        remedy: "Nothing was done. Run the command again if you meant yes.",
      });
    }
  } finally {
    lines.close();
  }
}

function firstLine(lines: Interface): Promise<string | null> {
  return new Promise((resolve) => {
    lines.once("line", resolve);
    lines.once("close", () => resolve(null));
    setTimeout(() => resolve(null), PIPE_PATIENCE).unref();
  });
}

function unanswered({ text, typed }: Question): FerryError {
  const remedy = typed === undefined ? {} : { remedy: `Add --yes, or type ${typed} on a terminal.` };
  return new FerryError("QUESTION_UNANSWERED", `there is no terminal to ask on: ${text}`, remedy);
}
