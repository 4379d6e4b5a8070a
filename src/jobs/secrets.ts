import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from "node:crypto";
import { restOf } from "../core/place.js";
import type { Sid } from "../core/session.js";
import type { Clock } from "../ports/clock.js";
import type { ControlStore } from "../ports/control-store.js";

const KIND = "secret";
const ID = "digest-key";
const LOCK = "digest-key";
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/**
 * What keeps session ids out of everything that people read. The key lies in the control store, so that all processes
 * of a migration give one session the same digest. Sealing with a key from the same store hides nothing from who can
 * read all of that store; it keeps a credential out of listings, exports and logs of single documents.
 */
export class Secrets {
  readonly #digestKey: Buffer;
  readonly #sealKey: Buffer;

  constructor(key: Buffer) {
    this.#digestKey = derive(key, "digest");
    this.#sealKey = derive(key, "seal");
  }

  /** 16 hexadecimal characters by which people may name a session, whichever server it is on. */
  digest(sid: Sid): string {
    return createHmac("sha256", this.#digestKey).update(restOf(sid)).digest("hex").slice(0, 16);
  }

  seal(text: string): string {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv("aes-256-gcm", this.#sealKey, nonce);
    const body = Buffer.concat([cipher.update(text, "utf8"), cipher.final()]);
    return Buffer.concat([nonce, cipher.getAuthTag(), body]).toString("base64");
  }

  /** Null where the text was sealed with another key, or altered. */
  unseal(sealed: string): string | null {
    const bytes = Buffer.from(sealed, "base64");
    if (bytes.length < NONCE_BYTES + TAG_BYTES) return null;
    const decipher = createDecipheriv("aes-256-gcm", this.#sealKey, bytes.subarray(0, NONCE_BYTES));
    decipher.setAuthTag(bytes.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES));
    try {
      const body = bytes.subarray(NONCE_BYTES + TAG_BYTES);
      return Buffer.concat([decipher.update(body), decipher.final()]).toString("utf8");
    } catch {
      return null;
    }
  }
}

/** Reads the migration's key, or draws it, once: whoever comes first. */
export async function loadSecrets(control: ControlStore, clock: Clock): Promise<Secrets> {
  const holder = randomBytes(8).toString("hex");
  for (;;) {
    const known = await control.getDocument<{ key: string }>(KIND, ID);
    if (known !== null) return new Secrets(Buffer.from(known.key, "base64"));
    if (await control.lock(LOCK, holder, 5_000)) {
      try {
        if ((await control.getDocument(KIND, ID)) !== null) continue;
        await control.putDocument(KIND, ID, { key: randomBytes(32).toString("base64") });
      } finally {
        await control.unlock(LOCK, holder);
      }
    } else await clock.sleep(50);
  }
}

function derive(key: Buffer, purpose: string): Buffer {
  return Buffer.from(hkdfSync("sha256", key, Buffer.alloc(0), `sessionferry ${purpose}`, 32));
}
