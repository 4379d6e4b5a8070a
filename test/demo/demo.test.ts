import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const MAIN = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
/** The same story with fewer sessions, a shorter outage and no pauses between its chapters. */
const SHORT = ["--sessions", "2000", "--outage", "3s", "--breath", "500ms", "--rate", "120"];

interface Document {
  readonly ok: boolean;
  readonly failure: string | null;
  readonly proof: readonly { readonly ok: boolean; readonly claim: string; readonly figures: string }[];
  readonly transitions: readonly { readonly name: string; readonly requests: number }[];
}

/** As a shell runs the built command. */
function demo(...more: string[]): {
  pid: number;
  ended: Promise<{ code: number | null; stdout: string; story: string }>;
} {
  const child = spawn(process.execPath, [MAIN, "demo", "--json", ...SHORT, ...more], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "";
  let story = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    story += text;
  });
  const ended = new Promise<{ code: number | null; stdout: string; story: string }>((resolve) => {
    child.on("close", (code) => resolve({ code, stdout, story }));
  });
  return { pid: child.pid!, ended };
}

/** Its processes and theirs: servers, applications, a command, and what watches over the servers. */
function descendantsOf(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number);
  return children.flatMap((child) => [child, ...descendantsOf(child)]);
}

function isRunning(pid: number): boolean {
  try {
    return !readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ");
  } catch {
    return false;
  }
}

describe("the demo", () => {
  it.each([
    ["postgres", "PostgreSQL"],
    ["memcached", "memcached"],
  ])("moves a shop from %s to Redis, and proves it", { timeout: 300_000 }, async (legacy, title) => {
    const { code, stdout, story } = await demo("--legacy", legacy).ended;
    // The story tells why, where it went wrong.
    expect(code, story).toBe(0);
    const { ok, failure, proof, transitions } = JSON.parse(stdout) as Document;
    expect({ ok, failure }).toEqual({ ok: true, failure: null });
    expect(proof.filter((line) => !line.ok)).toEqual([]);
    const claims = [
      /^[\d,]+ live sessions are in Redis with the cart last acknowledged$/,
      /^[\d,]+ they expire when their users were told, within [12] s$/,
      /^[\d,]+ logged-out sessions are dead in Redis$/,
      new RegExp(`^[\\d,]+ those logged out before \`complete\` are dead in ${title} too$`),
      /^2,000 sessions that no traffic touched are in Redis, unchanged$/,
      /^2,000 they expire as before, within [12] s$/,
      /^[\d,]+ sessions in Redis, each with an owner, and no mark of ours is left$/,
      /^[\d,]+ reads were compared with the truth at once, none was stale$/,
      /^[\d,]+ of them nobody was logged out, and no logged-out session answered$/,
      /^no request failed but those in flight to the process that was killed$/,
    ];
    expect(proof).toHaveLength(claims.length);
    for (const [i, { claim }] of proof.entries()) expect(claim).toMatch(claims[i]!);
    const names = transitions.map(({ name }) => name);
    for (const step of ["dual-write", "read-through", "redis-first", "full-redis", "complete"]) {
      expect(names.some((name) => name.startsWith(`phase advance --to ${step}`))).toBe(true);
    }
    expect(names).toEqual(expect.arrayContaining(["Redis away", "app-2 killed", "phase rollback --to read-through"]));
    expect(story).toContain("The proof, read by");
  });

  it("ends with everything it started when it is interrupted", { timeout: 120_000 }, async () => {
    const { pid, ended } = demo("--legacy", "memcached");
    await new Promise((resolve) => setTimeout(resolve, 6_000));
    const started = descendantsOf(pid);
    expect(started.length).toBeGreaterThan(3);
    process.kill(pid, "SIGINT");
    const { code, stdout, story } = await ended;
    expect(code, story).toBe(130);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: "INTERRUPTED" } });
    await expect.poll(() => started.filter(isRunning), { timeout: 10_000 }).toEqual([]);
  });
});
