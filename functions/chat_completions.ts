/**
 * `POST /v1/chat/completions`: OpenAI's chat, as JSON or as a stream of deltas.
 *
 * @module
 */
import { chat } from "./dialects/chat/dialect.ts";
import { generateFunction } from "./server/generate_function.ts";
import { withEngine } from "./server/with_engine.ts";

/** The function, to be mounted. */
export const chatCompletions = generateFunction(chat);

export default withEngine(chatCompletions);
