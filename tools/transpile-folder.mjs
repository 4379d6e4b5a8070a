// TypeScript that no build takes along (the soak test, the bench) as modules for plain Node.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import ts from "typescript";

/**
 * @param {string} from
 * @param {string} to
 */
export function transpileFolder(from, to) {
  const names = readdirSync(from, { recursive: true, encoding: "utf8" });
  for (const name of names.filter((each) => each.endsWith(".ts") && !each.endsWith(".d.ts"))) {
    const { outputText } = ts.transpileModule(readFileSync(join(from, name), "utf8"), {
      compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, verbatimModuleSyntax: true },
    });
    const output = join(to, name.replace(/\.ts$/, ".js"));
    mkdirSync(dirname(output), { recursive: true });
    writeFileSync(output, outputText);
  }
}
