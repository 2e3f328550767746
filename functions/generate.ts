/**
 * `POST /generate`: the smallest route. A prompt, token ids or messages in; text and token ids out.
 *
 * @module
 */
import { generate as dialect } from "./dialects/generate/dialect.ts";
import { generateFunction } from "./server/generate_function.ts";
import { withEngine } from "./server/with_engine.ts";

/** The function, to be mounted. */
export const generate = generateFunction(dialect);

export default withEngine(generate);
