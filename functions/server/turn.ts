/**
 * Turns of the event loop that end before they are long.
 *
 * @module
 */

/** A turn may go on for so long. */
const TURN_MS = 5;

let begun = performance.now();

/** Lets others have their turn, where this one has lasted for a while. */
export async function breathe(): Promise<void> {
  if (performance.now() - begun < TURN_MS) return;
  // A timer, as what sockets have to say comes before it too.
  await new Promise((resolve) => setTimeout(resolve));
  begun = performance.now();
}
