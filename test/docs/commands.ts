/** The commands that a document shows, so that a test can run every one of them. */

export interface DocumentedCommand {
  /** Of its first line in the document, counted from 1. */
  readonly line: number;
  /** Ready for `sh -c`: continued lines and here-documents belong to one command; the comment is taken off. */
  readonly command: string;
  /** From a closing comment `# exit 3`; where there is none, the command must succeed. */
  readonly expectedExit?: number;
}

const FENCE = /^(\s*)(`{3,}|~{3,})\s*([^\s`]*)/;
const COMMENT = /(?:^|\s)#\s*(.*)$/;
const EXIT_COMMENT = /^exit (\d{1,3})\b/;

/** All commands in the fenced `sh` blocks of `markdown`, in their order. */
export function commandsOf(markdown: string): DocumentedCommand[] {
  return blocksOf(markdown).flatMap(commandsOfBlock);
}

interface Line {
  readonly number: number;
  readonly text: string;
}

function blocksOf(markdown: string): Line[][] {
  const blocks: Line[][] = [];
  let open: { indent: number; fence: string; block: Line[] | null } | null = null;
  for (const [index, text] of markdown.split(/\r?\n/).entries()) {
    const [, indent = "", fence = "", language = ""] = FENCE.exec(text) ?? [];
    if (open === null) {
      if (fence === "") continue;
      open = { indent: indent.length, fence, block: language === "sh" ? [] : null };
    } else if (fence.startsWith(open.fence) && text.trim() === fence) {
      if (open.block !== null) blocks.push(open.block);
      open = null;
    } else {
      // A block within a list is indented as a whole.
      const margin = new RegExp(`^\\s{0,${open.indent}}`);
      open.block?.push({ number: index + 1, text: text.replace(margin, "") });
    }
  }
  if (open?.block)
    throw new Error(`the sh block before line ${(open.block[0]?.number ?? 1) + open.block.length} has no end`);
  return blocks;
}

function commandsOfBlock(lines: readonly Line[]): DocumentedCommand[] {
  const commands: DocumentedCommand[] = [];
  const rest = [...lines];
  for (let first = rest.shift(); first !== undefined; first = rest.shift()) {
    if (first.text.trim() === "") continue;
    const { code, expectedExit } = withoutComment(first.text);
    const texts = [code];
    let exit = expectedExit;
    while (texts.at(-1)?.endsWith("\\") && rest.length > 0) {
      const next = withoutComment((rest.shift() as Line).text);
      texts.push(next.code);
      exit ??= next.expectedExit;
    }
    const end = /<<-?\s*(['"]?)(\w+)\1/.exec(texts.join("\n"))?.[2];
    if (end !== undefined) {
      for (let line = rest.shift(); line !== undefined; line = rest.shift()) {
        texts.push(line.text);
        if (line.text.trim() === end) break;
      }
    }
    const command = texts.join("\n").trim();
    if (command === "") continue;
    commands.push({ line: first.number, command, ...(exit === undefined ? {} : { expectedExit: exit }) });
  }
  return commands;
}

/** A `#` opens a comment at the start of a word, unless it is quoted. */
function withoutComment(text: string): { code: string; expectedExit?: number } {
  // Quoted text is blanked out at its own length, so that positions stay what they are.
  const bare = text.replace(/'[^']*'|"(?:\\.|[^"\\])*"/g, (quoted) => "_".repeat(quoted.length));
  const comment = COMMENT.exec(bare);
  if (comment === null) return { code: text.trimEnd() };
  const exit = EXIT_COMMENT.exec(comment[1] ?? "")?.[1];
  return {
    code: text.slice(0, comment.index).trimEnd(),
    ...(exit === undefined ? {} : { expectedExit: Number(exit) }),
  };
}
