import fc from "fast-check";

/**
 * Every run of `npm test` plays the same examples, so that a test which fails there fails because of what was changed.
 * New ones are looked for by who asks for more than that: PROPERTY_RUNS, or FUZZ_FACTOR, which `npm run fuzz` sets.
 */
const { PROPERTY_RUNS, FUZZ_FACTOR } = process.env;
if (PROPERTY_RUNS === undefined && FUZZ_FACTOR === undefined) fc.configureGlobal({ seed: 1 });
