import { defineWish } from "../backfill-wish.js";

export const command = defineWish({
  command: "pause",
  told: "The backfill pauses within a second; it keeps its place.",
  example: ["$0 backfill pause", "Give the stores a rest during a rush"],
});
