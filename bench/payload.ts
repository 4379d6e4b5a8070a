/** A session as express-session hands it to a store; plain data, so that every store may serialise it in its own way. */
export interface Payload {
  readonly cookie: {
    readonly originalMaxAge: number;
    readonly maxAge: number;
    readonly expires: string;
    readonly httpOnly: true;
    readonly path: "/";
  };
  readonly user: number;
  readonly cart: readonly { readonly sku: string; readonly count: number; readonly note: string }[];
}

const LIFETIME = 6 * 3_600_000;
const NOTE = "a line of text as people leave it in a cart, neither random nor all the same ";

/** About so many bytes of JSON. */
export function payloadOf(bytes: number, user: number): Payload {
  const cookie = {
    originalMaxAge: LIFETIME,
    maxAge: LIFETIME,
    expires: new Date(Date.now() + LIFETIME).toISOString(),
    httpOnly: true,
    path: "/",
  } as const;
  const cart: { sku: string; count: number; note: string }[] = [];
  for (let length = 150; length < bytes; ) {
    const item = { sku: `sku-${(user * 7 + cart.length) % 99_991}`, count: 1, note: NOTE };
    const left = bytes - length - 45;
    cart.push({ ...item, note: NOTE.slice(0, Math.max(0, Math.min(NOTE.length, left))) });
    length += 45 + Math.max(0, Math.min(NOTE.length, left));
  }
  return { cookie, user, cart };
}

export function sidOf(n: number): string {
  return `bench-${n.toString(36).padStart(8, "0")}-session-id-of-32`;
}
