// Writes the JSON schemas that are generated from code: the configuration's, and one for each command's --json.
import { writeFileSync } from "node:fs";
import { generatedSchemas } from "../dist/cli/schemas.js";

for (const [name, schema] of Object.entries(generatedSchemas())) {
  writeFileSync(new URL(`../schemas/${name}.schema.json`, import.meta.url), `${JSON.stringify(schema, null, 2)}\n`);
}
