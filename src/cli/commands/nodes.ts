import { defineCommand } from "../command.js";
import { withControl } from "../control.js";
import { nodeDocument, nodesText } from "../node-text.js";
import type { Nodes } from "../schemas.js";

export const command = defineCommand({
  examples: [["$0 nodes", "Every node, with the revision it has acknowledged"]],
  async run(context) {
    const json: Nodes = await withControl(context, async (control) => {
      const record = await control.read();
      const [nodes, now] = await Promise.all([control.nodes(), control.now()]);
      return {
        migration: record.migration,
        revision: record.revision,
        nodes: nodes.map((node) => nodeDocument(node, record.revision, now)),
      };
    });
    return { json, text: nodesText(json.nodes, context.output.paint) };
  },
});
