/** The answer of INFO as a table. */
export type Info = ReadonlyMap<string, string>;

export function parseInfo(text: string): Info {
  const info = new Map<string, string>();
  for (const line of text.split("\r\n")) {
    const colon = line.indexOf(":");
    if (colon > 0) info.set(line.slice(0, colon), line.slice(colon + 1));
  }
  return info;
}

/** Null where the service does not tell. */
export function numberIn(info: Info, field: string): number | null {
  const text = info.get(field);
  return text !== undefined && /^\d+(\.\d+)?$/.test(text) ? Number(text) : null;
}

export function isAtLeast(version: string, major: number, minor: number): boolean {
  const [thisMajor = 0, thisMinor = 0] = version.split(".").map(Number);
  return thisMajor > major || (thisMajor === major && thisMinor >= minor);
}
