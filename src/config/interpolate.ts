import { printable } from "./printable.js";
import { isSection } from "./schema.js";

/** Deeper than any key of the configuration lies; keeps a file whose aliases form a circle from hanging the loader. */
const MAX_DEPTH = 12;

/**
 * A copy of the file's data in which `${NAME}` was replaced from the environment; `$${` stands for a plain `${`. It
 * works on the parsed data, not on the text, so that a password with YAML's own characters changes nothing else.
 * Names that are missing are told in `problems`, and the paths of their keys in `unresolved`.
 */
export function interpolate(
  data: unknown,
  environment: Readonly<Record<string, string | undefined>>,
  found: { readonly problems: string[]; readonly unresolved: Set<string> },
): unknown {
  const problem = (path: readonly string[], text: string) => {
    found.problems.push(`${path.map(printable).join(".")} ${text}`);
    found.unresolved.add(path.join("."));
  };
  const walk = (value: unknown, path: readonly string[]): unknown => {
    if (typeof value === "string") return replace(value, path);
    if (typeof value !== "object" || value === null) return value;
    if (path.length > MAX_DEPTH) {
      problem(path.slice(0, 3), "is nested too deeply");
      return null;
    }
    if (Array.isArray(value)) return value.map((item, index) => walk(item, [...path, String(index)]));
    if (!isSection(value) || !isPlain(value)) return value;
    return Object.fromEntries(Object.entries(value).map(([key, child]) => [key, walk(child, [...path, key])]));
  };

  const replace = (text: string, path: readonly string[]): string =>
    text.replace(/\$(\$\{)|\$\{([^}]*)\}/g, (_, escaped: string | undefined, name: string | undefined) => {
      if (escaped !== undefined) return escaped;
      if (name === undefined || !/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
        problem(path, "holds a ${...} that is no name of an environment variable");
        return "";
      }
      const value = environment[name];
      if (value === undefined || value === "") {
        problem(path, `needs the environment variable ${name}, which is not set`);
        return "";
      }
      return value;
    });

  return walk(data, []);
}

function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value) as unknown;
  return prototype === Object.prototype || prototype === null;
}
