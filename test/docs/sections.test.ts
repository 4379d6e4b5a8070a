import { expect, test } from "vitest";
import { blocksOf, sectionsOf, spansOf } from "./sections.js";

const MARKDOWN = [
  "# One `a`",
  "```sh",
  "# no heading",
  "ls # exit 2",
  "```",
  "",
  "## Two",
  "- list `b c` and `d`",
  "  ```console",
  "  npm `x`",
  "  ```",
  "```sh",
  "pwd",
  "```",
].join("\n");

test("sections go from heading to heading; a comment in a block is none", () => {
  expect(sectionsOf(MARKDOWN)).toEqual([
    { heading: "", commands: [] },
    { heading: "One `a`", commands: [{ line: 4, command: "ls", expectedExit: 2 }] },
    { heading: "Two", commands: [{ line: 13, command: "pwd" }] },
  ]);
});

test("blocks tell their language and place, spans are looked for outside of them", () => {
  expect(blocksOf(MARKDOWN).map(({ line, language }) => [line, language])).toEqual([
    [3, "sh"],
    [10, "console"],
    [13, "sh"],
  ]);
  expect(spansOf(MARKDOWN)).toEqual([
    { line: 1, code: "a" },
    { line: 8, code: "b c" },
    { line: 8, code: "d" },
  ]);
});
