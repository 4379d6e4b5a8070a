import { beforeEach, describe, expect, test } from "vitest";
import { MemoryControlStore } from "../../src/control/memory.js";
import { type EvictionStores, evict } from "../../src/ferry/eviction.js";
import { release, releaseOwed, type Successor, succeed } from "../../src/ferry/succession.js";
import { loadPhases } from "../../src/phases.js";
import { ControlUnreachable, PROTOCOL_NUMBER } from "../../src/ports/control-store.js";
import { SILENT } from "../../src/ports/observer.js";
import { RedisUnreachable } from "../../src/ports/redis-records.js";
import { MemoryLegacyStore } from "../../src/stores/legacy-memory.js";
import { MemoryRedisRecords } from "../../src/stores/records-memory.js";
import { VirtualClock } from "../support/virtual-clock.js";

const TTL = 15_000;
const clock = new VirtualClock();
let control: MemoryControlStore;
let records: MemoryRedisRecords;
let cut: string[];

beforeEach(async () => {
  control = new MemoryControlStore({ clock });
  const position = { phase: "legacy", percent: 100 } as const;
  await control.setup({ position, pending: null, generation: "g", interrupted: false });
  cut = [];
  records = Object.assign(new MemoryRedisRecords({ clock, migration: "m" }), {
    disconnectNode: async (node: string) => void cut.push(node),
  });
  for (const id of ["frozen00", "another0"]) {
    const registration = { role: "job", protocol: PROTOCOL_NUMBER, host: "h", pid: 1, version: "0" } as const;
    await control.join({ ...registration, id }, { presence: 1_000 });
  }
});

function of(node: string, over = control): Successor {
  const legacy = new MemoryLegacyStore({ clock });
  const eviction: EvictionStores = { control: over, legacy, records, phases: loadPhases(), observer: SILENT };
  return { control: over, eviction, lock: "phase", holder: `somebody (${node})`, node, ttl: TTL };
}

const stateOf = async (node: string) => (await control.nodes()).find(({ id }) => id === node)?.state;

describe("who takes over a lock that ran out", () => {
  test("fences off from Redis whoever held it last, before it begins", async () => {
    expect(await succeed(of("frozen00"))).toBe("held");
    expect(await succeed(of("another0"))).toBe("taken");
    expect(cut).toEqual([]);
    clock.advance(TTL + 1);
    expect(await succeed(of("another0"))).toBe("held");
    expect(cut).toEqual(["frozen00"]);
    expect(await stateOf("frozen00")).toBe("evicted");
    expect(await stateOf("another0")).toBe("live");
  });

  test("leaves alone who gave it back, and ends connections also of who is registered no more", async () => {
    await succeed(of("frozen00"));
    await release(of("frozen00"));
    expect(await succeed(of("another0"))).toBe("held");
    clock.advance(TTL + 1);
    await control.leave("another0");
    expect(await succeed(of("frozen00"))).toBe("held");
    // Whoever was forgotten while Redis did not answer may have one, and go on where it was frozen.
    expect(cut).toEqual(["another0"]);
    expect(await stateOf("frozen00")).toBe("live");
  });

  test("does not begin where Redis cannot be asked, unless it was given up, and the next one tries again", async () => {
    await succeed(of("frozen00"));
    clock.advance(TTL + 1);
    const { disconnectNode } = records;
    records.disconnectNode = () => Promise.reject(new RedisUnreachable("away", false));
    expect(await succeed(of("another0"))).toBe("haunted");
    records.disconnectNode = disconnectNode;
    expect(await succeed(of("another0"))).toBe("held");
    expect(cut).toEqual(["frozen00"]);
    await release(of("another0"));
    records.disconnectNode = () => Promise.reject(new RedisUnreachable("away", false));
    expect(await succeed(of("another0"), true)).toBe("held");
  });

  test("asks Redis, which may be away, for nobody whose eviction has ended his connections to it", async () => {
    await succeed(of("frozen00"));
    clock.advance(TTL + 1);
    expect(await evict(of("another0").eviction, "frozen00", "another0", { word: true })).toBe(true);
    expect(cut).toEqual(["frozen00"]);
    records.disconnectNode = () => Promise.reject(new RedisUnreachable("away", false));
    expect(await succeed(of("another0"))).toBe("held");
  });

  test("does not begin when it was frozen itself between taking the lock and putting its name down", async () => {
    const freezing = async (kind: string, id: string, body: unknown) => {
      clock.advance(TTL + 1);
      await succeed(of("another0"));
      await control.putDocument(kind, id, body);
    };
    const own = new Proxy(control, {
      get: (target, key) => {
        const member = Reflect.get(target, key);
        if (key === "putDocument") return freezing;
        return typeof member === "function" ? member.bind(target) : member;
      },
    });
    expect(await succeed(of("frozen00", own))).toBe("taken");
    expect(cut).toEqual([]);
  });

  test("fences off nobody who could not give it back while the control store was away, and did so later", async () => {
    let away = false;
    const flaky = new Proxy(control, {
      get(target, name) {
        const member = Reflect.get(target, name, target);
        if (typeof member !== "function") return member;
        return (...args: unknown[]) =>
          away
            ? Promise.reject(new ControlUnreachable("away"))
            : (member as (...a: unknown[]) => unknown).apply(target, args);
      },
    });
    const first = of("frozen00", flaky);
    expect(await succeed(first)).toBe("held");
    away = true;
    await expect(release(first)).rejects.toThrow("away");
    away = false;
    await releaseOwed(flaky);
    expect(await succeed(of("another0"))).toBe("held");
    expect(cut).toEqual([]);
    expect(await stateOf("frozen00")).toBe("live");
  });
});
