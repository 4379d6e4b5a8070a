import { FerryError } from "../errors.js";
import { ControlUnreachable, NotSetUp } from "../ports/control-store.js";
import { LegacyRefused, LegacyUnreachable, OutcomeUnknown } from "../ports/legacy-store.js";
import { RedisLost, RedisRefused, RedisUnreachable } from "../ports/redis-records.js";

/** What a door's caller sees of a store's failure: an error of the catalogue, with the store's own as its cause. */
export function asFerryError(error: unknown): unknown {
  if (error instanceof FerryError) return error;
  const options = { cause: error };
  if (error instanceof RedisUnreachable) {
    return error.sent
      ? new FerryError("OUTCOME_UNKNOWN", "Redis did not answer in time.", options)
      : new FerryError("REDIS_UNREACHABLE", "Redis cannot be reached.", options);
  }
  if (error instanceof RedisLost) {
    return new FerryError(
      "REDIS_LOST",
      "Redis is not the one that was armed for this migration: it lost its data or was replaced.",
      options,
    );
  }
  if (error instanceof RedisRefused) {
    return new FerryError("REDIS_REFUSED", `Redis refused the command: ${error.message}`, options);
  }
  if (error instanceof OutcomeUnknown) {
    return new FerryError("OUTCOME_UNKNOWN", "The legacy store did not tell the outcome of the write.", options);
  }
  if (error instanceof LegacyRefused) {
    return new FerryError("LEGACY_REFUSED", `The legacy store refused the command: ${error.message}`, options);
  }
  if (error instanceof LegacyUnreachable) {
    return new FerryError("LEGACY_UNREACHABLE", "The legacy store cannot be reached.", options);
  }
  if (error instanceof ControlUnreachable) {
    return new FerryError("CONTROL_UNREACHABLE", "The control store cannot be reached.", options);
  }
  if (error instanceof NotSetUp)
    return new FerryError("NOT_SET_UP", "This migration has no control record yet.", options);
  return error;
}

/** R did not serve the request, for whatever reason, and nothing of it took effect unless its outcome is unknown. */
export function isRedisFailure(error: unknown): error is RedisUnreachable | RedisLost | RedisRefused {
  return error instanceof RedisUnreachable || error instanceof RedisLost || error instanceof RedisRefused;
}

/** L did not serve the request, for whatever reason, and nothing of it took effect unless its outcome is unknown. */
export function isLegacyFailure(error: unknown): error is LegacyUnreachable | LegacyRefused | OutcomeUnknown {
  return error instanceof LegacyUnreachable || error instanceof OutcomeUnknown || error instanceof LegacyRefused;
}
