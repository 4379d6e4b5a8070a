/** `npm run soak -- --minutes N --seed S [--legacy postgres|memcached]`: exits with 1 where anything was wrong. */
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Soak } from "./soak.js";
import { soakTable } from "./table.js";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "5" },
    seed: { type: "string", default: "1" },
    legacy: { type: "string" },
    verbose: { type: "boolean", default: false },
  },
});

async function main(): Promise<number> {
  const [minutes, seed] = [Number(values.minutes), Number(values.seed)];
  const stores = values.legacy === undefined ? ["postgres", "memcached"] : [values.legacy];
  const known = stores.every((name) => name === "postgres" || name === "memcached");
  if (!(minutes > 0) || !Number.isInteger(seed) || !known) {
    console.error("usage: npm run soak -- --minutes N --seed S [--legacy postgres|memcached] [--verbose]");
    return 2;
  }
  let violations = 0;
  for (const legacy of stores as ("postgres" | "memcached")[]) {
    const started = Date.now();
    const stamp = () => `${((Date.now() - started) / 1000).toFixed(1).padStart(7)} s`;
    const soak = new Soak({
      seconds: minutes * 60,
      seed,
      legacy,
      folder: fileURLToPath(new URL("../integration/processes/", import.meta.url)),
      tell: (line) => {
        if (values.verbose || line.startsWith("VIOLATION")) console.error(`${stamp()}  ${line}`);
      },
    });
    const result = await soak.run();
    violations += result.violations.length;
    console.log(`\n${legacy}, seed ${seed}, ${minutes} minutes of faults\n\n${soakTable(result)}`);
    for (const what of result.violations) console.log(`VIOLATION ${what}`);
  }
  return violations === 0 ? 0 : 1;
}

void main().then((code) => process.exit(code));
