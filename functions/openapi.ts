/**
 * `GET /openapi.json`: what every function takes and answers. `GET /docs`: the routes as a page.
 *
 * @module
 */
import { allFunctions } from "./all_functions.ts";
import { openApiFunction } from "./server/openapi_function.ts";
import { withEngine } from "./server/with_engine.ts";

/** The function, to be mounted. */
export const openapi = openApiFunction(allFunctions);

export default withEngine(openapi);
