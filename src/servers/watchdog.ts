/**
 * Nothing may outlive this process: no server, no folder.
 *
 * One shell per process holds the reading end of a pipe whose writing end only we have. However we end (a return from
 * main, Ctrl-C, an uncaught error, SIGKILL), the kernel closes the pipe; the shell then ends every server it was told of
 * and removes our folder. So no signal handler is needed, and the one way out that no handler sees is covered as well.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, chmodSync, constants, mkdtempSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { Writable } from "node:stream";

/**
 * Lines on stdin are `watch PID SIGNAL` and `forget PID`. At their end each server is woken, in case it is paused,
 * asked to stop by its signal, and killed with its children when it has not gone after three seconds.
 */
const SCRIPT = `
trap '' INT TERM HUP QUIT
watched=
while read -r verb pid signal; do
  case $verb in
    watch) watched="$watched $pid:$signal" ;;
    forget)
      kept=
      for entry in $watched; do [ "\${entry%%:*}" = "$pid" ] || kept="$kept $entry"; done
      watched=$kept ;;
  esac
done
running() {
  kill -s 0 "$1" 2>/dev/null || return 1
  case $(cat "/proc/$1/stat" 2>/dev/null) in *') Z '*) return 1 ;; esac
}
children() { cat "/proc/$1/task/$1/children" 2>/dev/null || pgrep -P "$1" 2>/dev/null; }
for entry in $watched; do
  pid=\${entry%%:*}
  kill -s CONT "$pid" $(children "$pid") 2>/dev/null
  kill -s "\${entry#*:}" "$pid" 2>/dev/null
done
for entry in $watched; do
  pid=\${entry%%:*}
  for turn in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
    running "$pid" || break
    sleep 0.2
  done
  kill -s KILL "$pid" $(children "$pid") 2>/dev/null
done
rm -rf "$1"
`;

let folder: string | null = null;
let watchdog: ChildProcess | null = null;

/** The temporary folder of this process, which its watchdog removes; every server's folder lies in it. */
export function processFolder(): string {
  if (folder === null) {
    folder = mkdtempSync(join(temporaryPlace(), "sessionferry-servers-"));
    // The servers run as another user: they must be able to walk through, not to list.
    chmodSync(folder, 0o711);
    watchdog = spawn("/bin/sh", ["-c", SCRIPT, "sessionferry-watchdog", folder], {
      cwd: "/",
      detached: true,
      stdio: ["pipe", "ignore", "ignore"],
    });
    // Losing the watchdog is no reason to fail: stop() goes on working.
    watchdog.on("error", () => {});
    watchdog.stdin?.on("error", () => {});
    watchdog.unref();
    (watchdog.stdin as (Writable & { unref?: () => void }) | null)?.unref?.();
  }
  return folder;
}

/** Ends `pid` by `signal` when this process is gone. */
export function watch(pid: number, signal: NodeJS.Signals): void {
  processFolder();
  watchdog?.stdin?.write(`watch ${pid} ${signal.replace(/^SIG/, "")}\n`);
}

/** To be called as soon as `pid` has ended: the kernel may give its number to somebody else. */
export function forget(pid: number): void {
  watchdog?.stdin?.write(`forget ${pid}\n`);
}

/** TMPDIR unless an unprivileged server could not walk into it (root's own folder, for instance). */
function temporaryPlace(): string {
  const wanted = tmpdir();
  if (process.getuid?.() !== 0) return wanted;
  try {
    for (let path = wanted; path !== dirname(path); path = dirname(path)) {
      if ((statSync(path).mode & 0o001) === 0) throw new Error("not open to others");
    }
    accessSync(wanted, constants.W_OK);
    return wanted;
  } catch {
    return "/tmp";
  }
}
