import { createServer } from "node:net";

/** A loopback port that is free now. Somebody may take it before its server does: whoever starts one tries again. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.unref();
    probe.on("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const address = probe.address();
      if (address === null || typeof address === "string") reject(new Error("no port was given"));
      else probe.close(() => resolve(address.port));
    });
  });
}
