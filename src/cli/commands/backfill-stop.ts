import { defineWish } from "../backfill-wish.js";

export const command = defineWish({
  command: "stop",
  told: "The backfill ends after the batches under way; the next one goes on from its checkpoint.",
  example: ["$0 backfill stop", "End it for today"],
});
