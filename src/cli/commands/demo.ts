import { EXIT } from "../../errors.js";
import { defineCommand } from "../command.js";
import { choice, duration, flag, whole } from "../options.js";
import { isTerminal } from "../terminal.js";

export const command = defineCommand({
  options: {
    legacy: choice("The store to start from (postgres unless given).", ["postgres", "memcached"]),
    install: flag("Install missing servers (Debian or Ubuntu, as root or with sudo)."),
    rate: whole("Requests a second of all users together, 180 unless given.", 10, 10_000),
    sessions: whole("Sessions that no traffic touches, 20000 unless given.", 100, 1_000_000),
    outage: duration("How long Redis is dead, 10s unless given."),
    breath: duration("How long the traffic is left alone at each station, 2s unless given."),
  },
  examples: [
    ["$0 demo", "From PostgreSQL to Redis, in under two minutes"],
    ["$0 demo --legacy memcached", "From memcached to Redis"],
    ["$0 demo --redis-url redis://127.0.0.1:6379", "With an empty Redis that runs already, and is not killed"],
  ],
  async run(context, values) {
    const { runDemo } = await import("../../demo/demo.js");
    const { output } = context;
    const result = await runDemo({
      legacy: values.legacy ?? "postgres",
      install: values.install,
      rate: values.rate,
      quiet: values.sessions,
      outage: values.outage,
      breath: values.breath,
      // Empty servers that run already; the demo does not kill them.
      redisUrl: context.urls.redis,
      legacyUrl: context.urls.legacy,
      controlUrl: context.urls.control,
      // The story goes to stderr where stdout is the result's.
      print: (line) => (output.json ? output.log(line) : output.line(null, line)),
      colours: !output.json && isTerminal(output.streams.stdout),
      signal: context.signal,
    });
    const verdict = result.ok ? "Every line of the proof holds." : "The demo failed.";
    return {
      json: result,
      text: `\n${verdict} It took ${Math.round(result.seconds)} seconds.`,
      exit: result.ok ? EXIT.done : EXIT.unexpected,
    };
  },
});
