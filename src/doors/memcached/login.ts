import { createHash, timingSafeEqual } from "node:crypto";
import type { Block, Command, ParserContext } from "./commands.js";
import { uint32 } from "./numbers.js";
import type { SaslAccount } from "./options.js";
import { line } from "./said.js";
import { Words } from "./words.js";

/**
 * Who may use the door. Binary clients say it by SASL's PLAIN; text clients as memcached's `-Y` has it, by a `set` of any
 * key whose value is the user, a blank and the password.
 */

/** More than any user and password are long. */
const LONGEST = 1024;

/** Takes the same time whatever is right about the two, so that nobody finds them letter by letter. */
export function isAccepted(accounts: readonly SaslAccount[], { user, password }: SaslAccount): boolean {
  let accepted = false;
  for (const account of accounts) {
    const userFits = timingSafeEqual(digest(account.user), digest(user));
    const passwordFits = timingSafeEqual(digest(account.password), digest(password));
    accepted = (userFits && passwordFits) || accepted;
  }
  return accepted;
}

const digest = (text: string) => createHash("sha256").update(text, "utf8").digest();

/** PLAIN: whom to act as, the user, the password, with a zero byte between them. Acting as another is not offered. */
export function plain(message: Buffer): SaslAccount | null {
  const parts = message.toString("utf8").split("\0");
  if (parts.length !== 3) return null;
  const [actAs, user, password] = parts as [string, string, string];
  return user === "" || (actAs !== "" && actAs !== user) ? null : { user, password };
}

/** What a text client is answered until it has authenticated. */
export function unauthenticated(context: ParserContext, words: Words): Command | Block {
  const length = words.count < 5 || !words.is(0, "set") ? Number.NaN : uint32(words.bytes, words.from(4), words.to(4));
  if (!(length <= LONGEST)) return line("CLIENT_ERROR unauthenticated");
  return {
    length,
    keep: true,
    finish(value, whole) {
      if (!whole) return line("CLIENT_ERROR bad command line termination");
      const said = new Words();
      said.split(value!, 0, value!.length);
      if (said.count < 2) return line("CLIENT_ERROR bad authentication token format");
      const [user, password] = [said.utf8(0), said.utf8(1)];
      return line(context.authenticate({ user, password }) ? "STORED" : "CLIENT_ERROR authentication failure");
    },
  };
}
