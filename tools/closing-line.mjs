// The last line of a test run, in a form that scripts can read: "12 passed, 0 failed", and ", 3 skipped" where there are any.
// What passed at its second try only is named above that line: a machine that stood still once, or a race to look for.
// A file that could not be loaded, a hook that threw and an error outside of any test count as failures: they hid tests.

/** More second tries than these are no accident of the machine. */
const SECOND_TRIES = 3;

/** A vitest reporter; it prints beside the default one. */
export default class ClosingLine {
  /**
   * @param {ReadonlyArray<import("vitest/node").TestModule>} modules
   * @param {ReadonlyArray<unknown>} unhandledErrors
   */
  onTestRunEnd(modules, unhandledErrors) {
    const secondTries = [];
    const count = { passed: 0, failed: unhandledErrors.length, skipped: 0 };
    for (const module of modules) {
      if (module.errors().length > 0) count.failed += 1;
      for (const suite of module.children.allSuites()) if (suite.errors().length > 0) count.failed += 1;
      for (const test of module.children.allTests()) {
        const { state, errors = [] } = test.result();
        // Pending after the end: the run was cut short before it.
        count[state === "pending" ? "failed" : state] += 1;
        if (test.diagnostic()?.flaky) {
          secondTries.push(`${module.relativeModuleId} > ${test.fullName}: ${firstLineOf(errors[0]?.message)}`);
        }
      }
    }
    if (secondTries.length > SECOND_TRIES) count.failed += 1;
    // A run without a test proves nothing and must not look green.
    if (count.failed > 0 || count.passed === 0) process.exitCode = 1;
    const skipped = count.skipped > 0 ? `, ${count.skipped} skipped` : "";
    // After the default reporter, whose summary is printed by a later listener of the same event.
    process.on("exit", () => {
      for (const name of secondTries) console.log(`passed at its second try: ${name}`);
      if (secondTries.length > SECOND_TRIES) console.log(`more than ${SECOND_TRIES} second tries are a failure`);
      console.log(`${count.passed} passed, ${count.failed} failed${skipped}`);
    });
  }
}

/** What went wrong at the first try. */
function firstLineOf(message = "") {
  return message.split("\n")[0].slice(0, 200);
}
