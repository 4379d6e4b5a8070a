import { writeFile } from "node:fs/promises";
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

/** Asked before the run, so that a wrong name does not cost a whole check. Throws USAGE. */
export function requireReportName(file: string): void {
  if (RENDERERS[extname(file).toLowerCase()] !== undefined) return;
  throw new FerryError("USAGE", "A report's name must end in .md or .json.", { remedy: "Name another file." });
}

export async function writeReport(file: string, result: CheckResult): Promise<void> {
  requireReportName(file);
  await writeFile(file, RENDERERS[extname(file).toLowerCase()]!(result));
}
