import { describe, expect, it } from "vitest";
import { cleanCause, secretsOf, shownUrl } from "../../src/control/redact.js";

describe("shownUrl", () => {
  it.each([
    ["postgres://u:secret@h:1/db?sslmode=require", "postgres://u@h:1/db"],
    ["postgres://u@h/db", "postgres://u@h/db"],
    ["postgres://u:sec@ret@h/db", "postgres://u@h/db"],
    ["postgres://u:sec/ret@h/db", "(a URL that cannot be read)"],
    ["postgres://u:sec?ret@h/db", "(a URL that cannot be read)"],
    ["postgres://u:sec#ret@h/db", "(a URL that cannot be read)"],
    ["postgres:///db?host=/run&password=secret", "postgres:///db"],
    ["redis://secret@h", "redis://h"],
    ["redis-sentinel://u:secret@a:1,b:2/main", "redis-sentinel://u@a:1,b:2/main"],
    ["secret", "(a URL that cannot be read)"],
  ])("%s", (url, shown) => {
    expect(shownUrl(url)).toBe(shown);
  });
});

describe("cleanCause", () => {
  it("keeps name, text and code, and nothing that holds a password", () => {
    const source = Object.assign(new Error("login u/s%cret or s cret"), {
      name: "ReplyError",
      code: "X",
      command: { name: "auth", args: ["u", "s cret"] },
    });
    const clean = cleanCause(source, ["s%cret", "s cret"]);
    expect({ ...clean, message: clean.message, name: clean.name }).toEqual({
      name: "ReplyError",
      message: "login u/*** or ***",
      code: "X",
    });
    expect(clean.stack).not.toMatch(/s.cret/);
  });

  it("tells what an aggregate of attempts is made of", () => {
    const refused = new AggregateError([new Error("connect ECONNREFUSED ::1:1"), new Error("connect ECONNREFUSED")]);
    expect(cleanCause(refused, []).message).toBe("connect ECONNREFUSED ::1:1; connect ECONNREFUSED");
  });
});

describe("secretsOf", () => {
  it("finds the password as written and as decoded, in the login and in the query", () => {
    expect(secretsOf("postgres://u:a%20b@h/db?password=c")).toEqual(["a%20b", "a b", "c", "c"]);
    expect(secretsOf("postgres://u:100%@h/db")).toEqual(["100%"]);
    expect(secretsOf("redis://h")).toEqual([]);
  });
});
