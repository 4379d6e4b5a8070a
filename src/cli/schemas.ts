import { configJsonSchema } from "../config/schema.js";

/** Every JSON schema that is made from code, by the name of its file in schemas/. */
export function generatedSchemas(): Record<string, unknown> {
  return { config: configJsonSchema() };
}
