/**
 * `POST /v1/completions`: OpenAI's older route, which continues texts or token ids.
 *
 * @module
 */
import { completions as dialect } from "./dialects/completions/dialect.ts";
import { generateFunction } from "./server/generate_function.ts";
import { withEngine } from "./server/with_engine.ts";

/** The function, to be mounted. */
export const completions = generateFunction(dialect);

export default withEngine(completions);
