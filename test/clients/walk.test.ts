import { DRIVERS } from "./drivers.js";
import { walkTests } from "./walk.js";

await walkTests(DRIVERS);
