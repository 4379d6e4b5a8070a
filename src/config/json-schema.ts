import { z } from "zod";
import { configSchema } from "./schema.js";

interface JsonSchema {
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly [key: string]: unknown;
}

/** The JSON schema for editors, generated; `npm run schemas` writes it into schemas/config.schema.json. */
export function configJsonSchema(): JsonSchema {
  const schema = z.toJSONSchema(configSchema, { io: "input" }) as JsonSchema;
  const properties = { ...schema.properties };
  const { description, ...controlObject } = properties.control ?? {};
  properties.control = {
    description,
    anyOf: [{ type: "string", enum: ["same", "target"] }, controlObject],
  };
  const name = { title: "sessionferry.yaml", description: "The configuration of one migration." };
  return { ...schema, ...name, properties: { $schema: { type: "string" }, ...properties } };
}

let keyTree: JsonSchema | undefined;

/** Made once, and only when there is something to complain about: it takes milliseconds. */
function keys(): JsonSchema {
  keyTree ??= z.toJSONSchema(configSchema, { io: "input" }) as JsonSchema;
  return keyTree;
}

/** The keys that exist at a path of the configuration. */
export function knownKeys(path: readonly string[]): string[] {
  const schema = path.reduce<JsonSchema | undefined>((parent, key) => parent?.properties?.[key], keys());
  return Object.keys(schema?.properties ?? {});
}

/** The full paths of all keys, to find one that was written at the wrong place. */
export function allKeyPaths(): string[] {
  const walk = (schema: JsonSchema, prefix: string): string[] =>
    Object.entries(schema.properties ?? {}).flatMap(([key, child]) => [
      prefix + key,
      ...walk(child, `${prefix}${key}.`),
    ]);
  return walk(keys(), "");
}
