import { z } from "zod";
import { configJsonSchema } from "../config/json-schema.js";
import { checkResultSchema } from "../observe/check-schema.js";
import {
  backfillDocument,
  backfillStatusDocument,
  backfillWishedDocument,
  revokeDocument,
  sessionShowDocument,
} from "./documents/jobs.js";
import {
  historyDocument,
  phaseFile,
  phaseListDocument,
  phaseMoveDocument,
  phaseShowDocument,
} from "./documents/phases.js";
import { doctorPlanDocument } from "./documents/plan.js";
import {
  cleanupDocument,
  demoDocument,
  doctorDocument,
  errorDocument,
  presetsDocument,
  serversDocument,
  setupDocument,
} from "./documents/servers.js";
import { nodesDocument, nodesEvictDocument, statusDocumentSchema } from "./documents/status.js";

export * from "./documents/jobs.js";
export * from "./documents/phases.js";
export * from "./documents/plan.js";
export * from "./documents/servers.js";
export * from "./documents/status.js";

/**
 * What `--json` prints, command by command: scripts rely on these shapes. Times are milliseconds since the epoch by
 * the control store's clock, spans are milliseconds, shares 0 to 1, percentages 1 to 100. Keys may be added, never
 * changed or taken away.
 */

/** By the name of the command whose document it is; `error` is what any of them prints instead when it fails. */
export const DOCUMENTS = {
  backfill: backfillDocument,
  "backfill-status": backfillStatusDocument,
  "backfill-wish": backfillWishedDocument,
  check: checkResultSchema,
  cleanup: cleanupDocument,
  demo: demoDocument,
  doctor: doctorDocument,
  "doctor-plan": doctorPlanDocument,
  error: errorDocument,
  nodes: nodesDocument,
  "nodes-evict": nodesEvictDocument,
  "phase-history": historyDocument,
  "phase-list": phaseListDocument,
  "phase-move": phaseMoveDocument,
  "phase-show": phaseShowDocument,
  presets: presetsDocument,
  revoke: revokeDocument,
  servers: serversDocument,
  "session-show": sessionShowDocument,
  setup: setupDocument,
  status: statusDocumentSchema,
} as const satisfies Record<string, z.ZodType>;

/** Every JSON schema that is made from code, by the name of its file in schemas/. */
export function generatedSchemas(): Record<string, unknown> {
  const outputs = Object.entries(DOCUMENTS).map(([name, document]) => [`output-${name}`, z.toJSONSchema(document)]);
  return {
    config: configJsonSchema(),
    phase: z.toJSONSchema(phaseFile),
    ...(Object.fromEntries(outputs) as Record<string, unknown>),
  };
}
