import { readFileSync } from "node:fs";

/** The release, as package.json tells it; two folders up from src and from dist alike. */
export const VERSION: string = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")).version;
