import { lstat, open, rm, writeFile } from "node:fs/promises";
import { extname } from "node:path";
import type { CheckResult } from "../core/check-result.js";
import { FerryError } from "../errors.js";
import { renderCheckMarkdown } from "./check-report.js";
import { renderCheckJson } from "./check-schema.js";

/** What `--report FILE` writes, by the ending of the file's name. */
const RENDERERS: Readonly<Record<string, (result: CheckResult) => string>> = {
  ".md": renderCheckMarkdown,
  ".json": renderCheckJson,
};

/**
 * Asked before the run, so that neither a wrong name nor a place where nothing can be written costs a whole check.
 * What is there stays as it is.
 * @throws FerryError USAGE
 */
export async function requireReport(file: string): Promise<void> {
  rendererOf(file);
  const isNew = await lstat(file).then(
    () => false,
    () => true,
  );
  await writing(file, async () => (await open(file, "a")).close());
  if (isNew) await rm(file, { force: true });
}

/** @throws FerryError USAGE */
export async function writeReport(file: string, result: CheckResult): Promise<void> {
  const text = rendererOf(file)(result);
  await writing(file, () => writeFile(file, text));
}

function rendererOf(file: string): (result: CheckResult) => string {
  const renderer = RENDERERS[extname(file).toLowerCase()];
  if (renderer !== undefined) return renderer;
  throw new FerryError("USAGE", "A report's name must end in .md or .json.", { remedy: "Name another file." });
}

async function writing(file: string, perform: () => Promise<void>): Promise<void> {
  try {
    await perform();
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? "error";
    throw new FerryError("USAGE", `the report cannot be written to ${file} (${code})`, {
      remedy: "Name a file that this user may write, in a folder that is there.",
      cause,
    });
  }
}
