import { defineWish } from "../backfill-wish.js";

export const command = defineWish({
  command: "run",
  told: "The backfill goes on within a second.",
  example: ["$0 backfill resume", "Let a paused backfill go on"],
});
