import { commandsOf, type DocumentedCommand } from "./commands.js";

/** A part of a document, from one heading to the next, with the commands of its `sh` blocks. */
export interface Section {
  /** Without the number signs; "" before the first heading. */
  readonly heading: string;
  readonly commands: readonly DocumentedCommand[];
}

export interface Block {
  /** Of its first line in the document, counted from 1. */
  readonly line: number;
  readonly language: string;
  readonly lines: readonly string[];
}

/** The fenced blocks of a document. A block within a list keeps its indent. */
export function blocksOf(markdown: string): Block[] {
  const blocks: Block[] = [];
  let open: { line: number; fence: string; language: string; lines: string[] } | null = null;
  for (const [index, text] of markdown.split(/\r?\n/).entries()) {
    const [, fence = "", language = ""] = /^\s*(`{3,}|~{3,})\s*([^\s`]*)/.exec(text) ?? [];
    if (open === null) {
      if (fence !== "") open = { line: index + 2, fence, language, lines: [] };
    } else if (fence.startsWith(open.fence) && text.trim() === fence) {
      blocks.push(open);
      open = null;
    } else open.lines.push(text);
  }
  return blocks;
}

/** The sections in their order. A line within a block is no heading. */
export function sectionsOf(markdown: string): Section[] {
  const blocks = blocksOf(markdown);
  const inBlock = (line: number) =>
    blocks.some((block) => line >= block.line && line < block.line + block.lines.length);
  const starts = [{ heading: "", line: 0 }];
  for (const [index, text] of markdown.split(/\r?\n/).entries()) {
    const heading = /^#{1,6}\s+(.*?)\s*$/.exec(text)?.[1];
    if (heading !== undefined && !inBlock(index + 1)) starts.push({ heading, line: index + 1 });
  }
  const commands = commandsOf(markdown);
  return starts.map(({ heading, line }, i) => {
    const end = starts[i + 1]?.line ?? Number.POSITIVE_INFINITY;
    return { heading, commands: commands.filter((command) => command.line > line && command.line < end) };
  });
}

/** The code spans of a document outside of its blocks, with their lines. */
export function spansOf(markdown: string): { readonly line: number; readonly code: string }[] {
  const blocks = blocksOf(markdown);
  return markdown.split(/\r?\n/).flatMap((text, index) => {
    const line = index + 1;
    if (blocks.some((block) => line >= block.line - 1 && line <= block.line + block.lines.length)) return [];
    return [...text.matchAll(/`([^`]+)`/g)].map((match) => ({ line, code: match[1] ?? "" }));
  });
}
