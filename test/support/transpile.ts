import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const SOURCE = fileURLToPath(new URL("../../src/", import.meta.url));

/**
 * Turns files or folders of src into modules that a plain `node` runs, so that a test can start, signal and kill a
 * process of its own without a build.
 * @param paths below src: `["errors.ts", "servers"]`
 * @returns a new temporary folder with the same layout; the caller removes it
 */
export function transpile(paths: readonly string[]): string {
  const target = mkdtempSync(join(tmpdir(), "sessionferry-transpiled-"));
  writeFileSync(join(target, "package.json"), '{"type":"module"}');
  const files = paths.flatMap((path) =>
    path.endsWith(".ts")
      ? [path]
      : readdirSync(join(SOURCE, path), { recursive: true, encoding: "utf8" })
          .filter((name) => name.endsWith(".ts"))
          .map((name) => join(path, name)),
  );
  for (const file of files) transpileFile(join(SOURCE, file), join(target, file.replace(/\.ts$/, ".js")));
  return target;
}

/** One module, with the folders that it is to lie in. */
export function transpileFile(source: string, target: string): void {
  const { outputText } = ts.transpileModule(readFileSync(source, "utf8"), {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, verbatimModuleSyntax: true },
  });
  mkdirSync(dirname(target), { recursive: true });
  writeFileSync(target, outputText);
}
