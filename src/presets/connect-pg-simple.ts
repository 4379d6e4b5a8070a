import type { LegacyPreset } from "../ports/preset.js";

export const connectPgSimple: LegacyPreset = {
  name: "connect-pg-simple",
  title: "Express sessions in PostgreSQL, written by connect-pg-simple",
  backend: "postgres",
  prefix: "",
  flags: 0,
  table: { name: "session", sid: "sid", value: "sess", expiry: "expire" },
  value: "The JSON text of the session, as the column `sess` holds it.",
  lifetime:
    "The column `expire`: the cookie's expiry rounded up to a second, or a day (option ttl) where the cookie has none. " +
    "`cookie.expires` inside the value is stale after a touch and is not looked at.",
  defaultLifetime: 86_400_000,
};
