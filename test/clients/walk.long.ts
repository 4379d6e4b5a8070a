/** The same way for the clients of Java and Go, whose packages not every run of the tests installs. */
import { HEAVY_DRIVERS } from "./drivers.js";
import { walkTests } from "./walk.js";

await walkTests(HEAVY_DRIVERS);
