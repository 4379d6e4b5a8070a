import { describe, expect, test } from "vitest";
import { commandsOf } from "./commands.js";

const doc = (...lines: string[]) => lines.join("\n");

describe("the commands of a document", () => {
  test("come from sh blocks alone, one a line, with their place", () => {
    const markdown = doc(
      "# Title",
      "`ls`",
      "```sh",
      "npm ci",
      "",
      "npm test",
      "```",
      "```yaml",
      "a: b",
      "```",
      "```",
      "no",
      "```",
    );
    expect(commandsOf(markdown)).toEqual([
      { line: 4, command: "npm ci" },
      { line: 6, command: "npm test" },
    ]);
  });

  test("tell the exit code they must end with", () => {
    const markdown = doc(
      "```sh",
      "# exit 9 is said of nothing here",
      "sessionferry phase advance  # exit 3",
      "sessionferry check # exit 4: something differs",
      "sessionferry status # shows the phase",
      "```",
    );
    expect(commandsOf(markdown)).toEqual([
      { line: 3, command: "sessionferry phase advance", expectedExit: 3 },
      { line: 4, command: "sessionferry check", expectedExit: 4 },
      { line: 5, command: "sessionferry status" },
    ]);
  });

  test("keep a quoted or glued # ", () => {
    const markdown = doc("```sh", `echo "a # exit 3" '# b' c#d`, `echo 'x' # exit 1`, "```");
    expect(commandsOf(markdown)).toEqual([
      { line: 2, command: `echo "a # exit 3" '# b' c#d` },
      { line: 3, command: "echo 'x'", expectedExit: 1 },
    ]);
  });

  test("may go over several lines", () => {
    const markdown = doc(
      "```sh",
      "sessionferry phase rollback \\",
      "  --redis-lost \\",
      "  --reason 'gone'   # exit 6",
      "cat > f.yaml <<'EOF'",
      "a: b # kept",
      "",
      "EOF",
      "cat f.yaml",
      "```",
    );
    expect(commandsOf(markdown)).toEqual([
      { line: 2, command: "sessionferry phase rollback \\\n  --redis-lost \\\n  --reason 'gone'", expectedExit: 6 },
      { line: 5, command: "cat > f.yaml <<'EOF'\na: b # kept\n\nEOF" },
      { line: 9, command: "cat f.yaml" },
    ]);
  });

  test("are found in lists, in other fences and beside Windows line ends", () => {
    const markdown = "1. do\r\n   ```sh\r\n   ls\r\n   ```\r\n~~~~sh\r\npwd\r\n```\r\n~~~~\r\n";
    expect(commandsOf(markdown)).toEqual([
      { line: 3, command: "ls" },
      { line: 6, command: "pwd" },
      { line: 7, command: "```" },
    ]);
  });

  test("are refused from a block without an end", () => {
    expect(() => commandsOf("```sh\nls\n")).toThrow("has no end");
  });
});
