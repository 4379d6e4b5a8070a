import { setTimeout as delay } from "node:timers/promises";
import type { Config } from "../../src/core/config.js";
import { FaultyLink } from "../support/faulty-link.js";
import type { Member } from "../support/history.js";
import { MemberProcess, timed } from "./processes.js";
import type { Site } from "./site.js";

/** The network between one process and the servers. */
export interface Links {
  readonly legacy: FaultyLink;
  readonly redis: FaultyLink;
  readonly control: FaultyLink;
}

export interface FleetOptions {
  readonly folder: string;
  /** Milliseconds after which an answer is too late. */
  readonly latest: number;
  /** Milliseconds by which the clocks of the processes are ahead, in turn. */
  readonly clocks?: readonly number[];
  readonly wrong: (what: string) => void;
}

/** The application processes, each on a network and with a clock of its own. */
export class Fleet {
  readonly members: MemberProcess[] = [];
  readonly #links = new Map<MemberProcess, Links>();
  #started = 0;
  /** Milliseconds. */
  slowest = 0;

  constructor(
    readonly site: Site,
    readonly options: FleetOptions,
  ) {}

  /** Those that take requests. */
  get awake(): MemberProcess[] {
    return this.members.filter(({ alive, frozen }) => alive && !frozen);
  }

  get serving(): Member[] {
    return this.awake.map((member) =>
      timed(member, (took) => {
        this.slowest = Math.max(this.slowest, took);
        if (took > this.options.latest) this.options.wrong(`a request took ${Math.round(took)} ms`);
      }),
    );
  }

  linksOf(member: MemberProcess): Links | undefined {
    return this.#links.get(member);
  }

  async start(): Promise<void> {
    const links = await this.#newLinks();
    const { clocks = [0] } = this.options;
    const shift = clocks[this.#started++ % clocks.length]!;
    for (let tries = 0; ; tries++) {
      try {
        const member = await MemberProcess.start(this.options.folder, this.#by(links), shift);
        this.members.push(member);
        this.#links.set(member, links);
        return;
      } catch (error) {
        // Nobody can join while the control store is away.
        if (tries === 100) throw error;
        await delay(200);
      }
    }
  }

  /** Lets go of those that are gone; what they sent and the network holds back is lost with them. */
  async collect(): Promise<void> {
    for (const member of this.members.filter(({ alive }) => !alive)) {
      for (const { event, detail } of member.events) {
        if (event === "unhandled") this.options.wrong(`unhandled: ${detail}`);
      }
      this.members.splice(this.members.indexOf(member), 1);
      await this.#close(member);
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.members.map((member) => member.close()));
    await Promise.all([...this.#links.keys()].map((member) => this.#close(member)));
  }

  kill(): Promise<unknown> {
    return Promise.all(this.members.map((member) => member.kill()));
  }

  async #close(member: MemberProcess): Promise<void> {
    const links = this.#links.get(member);
    this.#links.delete(member);
    if (links !== undefined) await Promise.all([links.legacy, links.redis, links.control].map((link) => link.close()));
  }

  async #newLinks(): Promise<Links> {
    const { legacy, redis, control, clients } = this.site;
    const [first, second, third] = await Promise.all([
      FaultyLink.open(legacy, { clients }),
      FaultyLink.open(redis),
      FaultyLink.open(control),
    ]);
    return { legacy: first, redis: second, control: third };
  }

  #by({ legacy, redis, control }: Links): Config {
    const { config } = this.site;
    return {
      ...config,
      legacy: { ...config.legacy, url: legacy.via(config.legacy.url) },
      redis: { ...config.redis, url: redis.via(config.redis.url) },
      control: { ...config.control, url: control.via(config.control.url) },
    };
  }

  /** Notes requests that took longer than they may, unless their process was frozen meanwhile. */
}
