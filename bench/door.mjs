// What the memcached door costs: CPU of the proxy process per operation while all is in legacy, beside a bare Node pipe
// (bytes carried, nothing looked at), the door without its relay, and nutcracker where it is installed. Each round measures
// each of them once, in turns; a ratio is taken within its round, and the median of the rounds counts.
//
//   node bench/door.mjs [--rounds 5] [--operations 40000] [--clients 8] [--only pipe,door]
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { transpileFolder } from "../tools/transpile-folder.mjs";

const { values: options } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    operations: { type: "string", default: "40000" },
    clients: { type: "string", default: "8" },
    only: { type: "string", default: "pipe,door,door-without-relay,nutcracker" },
    profile: { type: "string", default: "" },
    patterns: { type: "string", default: "one,ten,sets,multi" },
  },
});
/** Seconds of a tick of the kernel's CPU accounting. */
const TICK = 1 / Number(spawnSync("getconf", ["CLK_TCK"], { encoding: "utf8" }).stdout || 100);
const VALUE = "v".repeat(1024);
const KEYS = Array.from({ length: 1000 }, (_, n) => `memc.sess.key.${String(n).padStart(26, "0")}`);
const root = fileURLToPath(new URL("../", import.meta.url));

/** A request, how many operations it counts for, and how many bytes answer it. */
const get = (key) => ({ bytes: `get ${key}\r\n`, operations: 1, answer: `VALUE ${key} 0 1024\r\n`.length + 1026 + 5 });
const set = (key) => ({ bytes: `set ${key} 0 1440 1024\r\n${VALUE}\r\n`, operations: 1, answer: "STORED\r\n".length });
const join10 = (make) => (n) => {
  const parts = Array.from({ length: 10 }, (_, i) => make(KEYS[(n * 10 + i) % KEYS.length]));
  return {
    bytes: parts.map(({ bytes }) => bytes).join(""),
    operations: 10,
    answer: parts.reduce((sum, { answer }) => sum + answer, 0),
  };
};
const PATTERNS = {
  one: { title: "one at a time, a fifth writes", make: (n) => (n % 5 === 0 ? set : get)(KEYS[n % KEYS.length]) },
  ten: { title: "10 reads a packet", make: join10(get) },
  sets: { title: "10 writes a packet", make: join10(set) },
  multi: {
    title: "get of 10 keys, per key",
    make: (n) => {
      const keys = Array.from({ length: 10 }, (_, i) => KEYS[(n * 10 + i) % KEYS.length]);
      const answer = keys.reduce((sum, key) => sum + `VALUE ${key} 0 1024\r\n`.length + 1026, 5);
      return { bytes: `get ${keys.join(" ")}\r\n`, operations: 10, answer };
    },
  },
};

const folder = mkdtempSync(join(tmpdir(), "sessionferry-door-"));
const children = [];
try {
  await main();
} finally {
  for (const child of children) child.kill(options.profile ? "SIGTERM" : "SIGKILL");
  rmSync(folder, { recursive: true, force: true });
}

async function main() {
  // A copy, so that what is measured does not change while it runs.
  transpileFolder(join(root, "src"), join(folder, "src"));
  transpileFolder(join(root, "bench/door"), join(folder, "bench/door"));
  for (const name of ["node_modules", "phases", "package.json"]) symlinkSync(join(root, name), join(folder, name));
  const { startMemcached } = await import(pathToFileURL(join(folder, "src/servers/index.js")).href);
  const server = await startMemcached();
  try {
    await fill(server.port);
    const subjects = await start(server.port);
    await measure(subjects);
  } finally {
    await server.stop();
  }
}

async function start(upstream) {
  const wanted = new Set(options.only.split(","));
  const subjects = [];
  for (const role of ["pipe", "door", "door-without-relay"]) {
    if (!wanted.has(role)) continue;
    const child = spawn(
      process.execPath,
      [
        ...(options.profile ? ["--cpu-prof", "--cpu-prof-dir", options.profile] : []),
        join(folder, "bench/door/serve.js"),
        role,
        String(upstream),
      ],
      {
        stdio: ["ignore", "inherit", "inherit", "ipc"],
      },
    );
    children.push(child);
    const port = await new Promise((resolve) => child.once("message", resolve));
    subjects.push({ name: role, port, pid: child.pid });
  }
  const nutcracker = ["/usr/sbin/nutcracker", "/usr/bin/nutcracker"].find(existsSync);
  if (nutcracker && wanted.has("nutcracker")) {
    const port = 20_000 + (process.pid % 20_000);
    const conf = join(folder, "nutcracker.yml");
    writeFileSync(conf, `p:\n  listen: 127.0.0.1:${port}\n  servers:\n   - 127.0.0.1:${upstream}:1\n`);
    const child = spawn(nutcracker, ["-c", conf, "-s", String(port + 1), "-o", join(folder, "nutcracker.log")]);
    children.push(child);
    await new Promise((resolve) => setTimeout(resolve, 500));
    subjects.push({ name: "nutcracker", port, pid: child.pid });
  }
  return subjects;
}

async function measure(subjects) {
  console.log(`CPU of the proxy process, microseconds an operation; values of 1 KB, ${options.clients} clients.`);
  console.log(`${cpus().length} cores, ${cpus()[0]?.model ?? ""}, Node ${process.version}`);
  for (const name of options.patterns.split(",")) {
    const pattern = PATTERNS[name];
    const found = new Map(subjects.map(({ name }) => [name, []]));
    for (let round = 0; round < Number(options.rounds); round++) {
      for (const subject of subjects) {
        if (round === 0) await load(subject, pattern, Number(options.operations));
        found.get(subject.name).push(await load(subject, pattern, Number(options.operations)));
      }
    }
    const pipe = found.get("pipe") ?? [];
    console.log(`\n${pattern.title}`);
    for (const [subject, rounds] of found) {
      const ratio =
        pipe.length === 0 ? "" : `${median(rounds.map(({ cpu }, n) => cpu / pipe[n].cpu)).toFixed(2)} x pipe`;
      const cpu = median(rounds.map(({ cpu }) => cpu)).toFixed(1);
      const rate = Math.round(median(rounds.map(({ rate }) => rate)));
      console.log(`  ${subject.padEnd(20)} ${cpu.padStart(6)} us  ${String(rate).padStart(7)}/s  ${ratio}`);
    }
  }
}

/** A closed loop of so many operations (the first, which is not counted, warms the code up): CPU microseconds an operation, operations a second. */
async function load({ port, pid }, { make }, wanted) {
  let operations = 0;
  let n = 0;
  const client = () =>
    new Promise((resolve, reject) => {
      const socket = connect({ port, host: "127.0.0.1", noDelay: true });
      let missing = 0;
      let counts = 0;
      const next = () => {
        if (operations >= wanted) {
          socket.destroy();
          return resolve();
        }
        const { bytes, answer, operations: these } = make(n++);
        missing = answer;
        counts = these;
        socket.write(bytes, "latin1");
      };
      socket.on("connect", next);
      socket.on("data", (chunk) => {
        missing -= chunk.length;
        if (missing > 0) return;
        if (missing < 0)
          return reject(
            new Error(
              `more came back than was asked for: ${chunk.toString("latin1").slice(-200)} ${chunk.length} ${missing}`,
            ),
          );
        operations += counts;
        next();
      });
      socket.on("error", reject);
    });
  const before = cpuOf(pid);
  const began = performance.now();
  await Promise.all(Array.from({ length: Number(options.clients) }, client));
  const cpu = cpuOf(pid) - before;
  return { cpu: (cpu * 1e6) / operations, rate: operations / ((performance.now() - began) / 1000) };
}

/** Seconds of CPU that a process has used, its own and the kernel's for it. */
function cpuOf(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) * TICK;
}

function fill(port) {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => {
      for (const key of KEYS) socket.write(`set ${key} 0 0 1024\r\n${VALUE}\r\n`);
    });
    let bytes = 0;
    socket.on("data", (chunk) => {
      bytes += chunk.length;
      if (bytes < KEYS.length * 8) return;
      socket.destroy();
      resolve();
    });
  });
}

function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}
