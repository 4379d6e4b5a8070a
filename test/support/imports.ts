/** What source files import, read from their syntax trees: the ground that the architecture test stands on. */
import { readdirSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import ts from "typescript";

/** Path from the project's root, with forward slashes, to the text of the file. */
export type Sources = ReadonlyMap<string, string>;

export interface Import {
  readonly from: string;
  readonly line: number;
  /** A path as in Sources, or the name of a package ("pg", "@scope/name", "node:fs"). */
  readonly to: string;
  /** "type" is erased by the compiler; "dynamic" is `import()` or `require()`, loaded when it is reached. */
  readonly kind: "value" | "type" | "dynamic";
}

export function readSources(root: string, folder: string): Sources {
  const names = readdirSync(join(root, folder), { recursive: true, encoding: "utf8" });
  const paths = names.filter((name) => name.endsWith(".ts")).map((name) => posix.join(folder, name));
  return new Map(paths.sort().map((path) => [path, readFileSync(join(root, path), "utf8")]));
}

export function importsOf(sources: Sources): Import[] {
  return [...sources].flatMap(([from, text]) => {
    const imports: Import[] = [];
    eachNode(from, text, (node, line) => {
      const found = specifierOf(node);
      if (found !== null) imports.push({ from, line, to: resolve(from, found.specifier), kind: found.kind });
    });
    return imports;
  });
}

/** Every place that reads the environment: `process.env`, `{ env } = process`, `import { env } from "node:process"`. */
export function environmentReads(sources: Sources): { readonly from: string; readonly line: number }[] {
  return [...sources].flatMap(([from, text]) => {
    const reads: { from: string; line: number }[] = [];
    eachNode(from, text, (node, line) => {
      const property = ts.isPropertyAccessExpression(node) && node.name.text === "env" && isProcess(node.expression);
      const element = ts.isElementAccessExpression(node) && isProcess(node.expression);
      const spread =
        ts.isVariableDeclaration(node) && ts.isObjectBindingPattern(node.name) && isProcess(node.initializer);
      const named = specifierOf(node)?.specifier.replace(/^node:/, "") === "process";
      if (property || element || named || (spread && /\benv\b/.test(node.name.getText()))) reads.push({ from, line });
    });
    return reads;
  });
}

/** The files of one cycle, the first one repeated at the end, or null. */
export function cycleIn(imports: readonly Import[]): string[] | null {
  const edges = new Map<string, Import[]>();
  for (const edge of imports) edges.set(edge.from, [...(edges.get(edge.from) ?? []), edge]);
  const done = new Set<string>();
  const visit = (file: string, path: string[]): string[] | null => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (done.has(file)) return null;
    for (const { to } of edges.get(file) ?? []) {
      const cycle = visit(to, [...path, file]);
      if (cycle !== null) return cycle;
    }
    done.add(file);
    return null;
  };
  for (const file of edges.keys()) {
    const cycle = visit(file, []);
    if (cycle !== null) return cycle;
  }
  return null;
}

/**
 * Everything that loading `entry` may load, each with the chain of imports that leads there.
 * @param kinds which imports are followed
 */
export function reachable(
  imports: readonly Import[],
  entry: string,
  kinds: readonly Import["kind"][],
): ReadonlyMap<string, readonly string[]> {
  const chains = new Map<string, readonly string[]>([[entry, [entry]]]);
  // A Map is walked in the order of insertion, entries added on the way included.
  for (const [file, chain] of chains) {
    for (const { from, to, kind } of imports) {
      if (from === file && kinds.includes(kind) && !chains.has(to)) chains.set(to, [...chain, to]);
    }
  }
  return chains;
}

function eachNode(path: string, text: string, look: (node: ts.Node, line: number) => void): void {
  const file = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  const visit = (node: ts.Node): void => {
    look(node, file.getLineAndCharacterOfPosition(node.getStart(file)).line + 1);
    ts.forEachChild(node, visit);
  };
  visit(file);
}

function specifierOf(node: ts.Node): { specifier: string; kind: Import["kind"] } | null {
  if (ts.isImportDeclaration(node)) {
    return named(node.moduleSpecifier, node.importClause?.isTypeOnly === true ? "type" : "value");
  }
  if (ts.isExportDeclaration(node)) return named(node.moduleSpecifier, node.isTypeOnly ? "type" : "value");
  if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) return named(node.argument.literal, "type");
  if (ts.isExternalModuleReference(node)) return named(node.expression, "value");
  if (ts.isCallExpression(node)) {
    const { expression } = node;
    const loads = expression.kind === ts.SyntaxKind.ImportKeyword;
    const requires =
      ts.isIdentifier(expression) &&
      expression.text === "require" &&
      ts.isStringLiteral(node.arguments[0] ?? expression);
    if (loads || requires) return named(node.arguments[0], "dynamic");
  }
  return null;
}

function named(node: ts.Node | undefined, kind: Import["kind"]): { specifier: string; kind: Import["kind"] } | null {
  return node !== undefined && ts.isStringLiteralLike(node) ? { specifier: node.text, kind } : null;
}

function resolve(from: string, specifier: string): string {
  if (specifier.startsWith(".")) return posix.join(posix.dirname(from), specifier).replace(/\.js$/, ".ts");
  if (specifier.startsWith("node:")) return specifier;
  return specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
}

function isProcess(node: ts.Node | undefined): boolean {
  return node !== undefined && ts.isIdentifier(node) && node.text === "process";
}
