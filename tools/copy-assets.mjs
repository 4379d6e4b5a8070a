// tsc copies no data files: the Lua of the scripts is read from beside the compiled modules.
import { chmodSync, cpSync } from "node:fs";

cpSync("src/scripts", "dist/scripts", { recursive: true, filter: (path) => !path.endsWith(".ts") });
chmodSync("dist/cli/main.js", 0o755);
