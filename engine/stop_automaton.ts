/**
 * Several texts looked for at once (Aho and Corasick): a step for each character, however the texts and what
 * is read repeat themselves.
 *
 * @module
 */

/** Where nothing of any text has been read. */
export const ROOT = 0;

/**
 * A node is a beginning of one of the texts, and has no more children than there are texts: they are a list
 * of siblings, and all is in arrays of numbers, as thousands of requests may have 16 kB of texts each.
 */
export class StopAutomaton {
  /** Characters of a node's beginning: those that may yet become one of the texts. */
  readonly depth: Uint16Array;
  readonly #texts: readonly string[];
  /** Of the node: the last character, the first child, the next sibling; {@linkcode ROOT} for none. */
  readonly #unit: Uint16Array;
  readonly #child: Uint16Array;
  readonly #sibling: Uint16Array;
  /** The longest end of a node's beginning that is a beginning too. */
  readonly #shorter: Uint16Array;
  /** 1 + the number of the longest text that a node's beginning ends with; 0 for none. */
  readonly #found: Uint8Array;

  /** @param texts none is empty; all together have less than 65,536 characters, and they are less than 256 */
  constructor(texts: readonly string[]) {
    const size = 1 + texts.reduce((sum, { length }) => sum + length, 0);
    this.#texts = texts;
    this.depth = new Uint16Array(size);
    this.#unit = new Uint16Array(size);
    this.#child = new Uint16Array(size);
    this.#sibling = new Uint16Array(size);
    this.#shorter = new Uint16Array(size);
    this.#found = new Uint8Array(size);
    this.#plant();
    this.#link();
  }

  /** The node after one more character (UTF-16 unit). */
  step(node: number, unit: number): number {
    for (;;) {
      const next = this.#childOf(node, unit);
      if (next !== ROOT || node === ROOT) return next;
      node = this.#shorter[node]!;
    }
  }

  /** The longest text that ends where `node` is reached. */
  foundAt(node: number): string | undefined {
    return this.#texts[this.#found[node]! - 1];
  }

  #childOf(node: number, unit: number): number {
    let child = this.#child[node]!;
    while (child !== ROOT && this.#unit[child] !== unit) child = this.#sibling[child]!;
    return child;
  }

  #plant(): void {
    let size = 1;
    for (const [number, text] of this.#texts.entries()) {
      let node = ROOT;
      for (let at = 0; at < text.length; at++) {
        const unit = text.charCodeAt(at);
        let next = this.#childOf(node, unit);
        if (next === ROOT) {
          next = size++;
          this.#unit[next] = unit;
          this.depth[next] = at + 1;
          this.#sibling[next] = this.#child[node]!;
          this.#child[node] = next;
        }
        node = next;
      }
      this.#found[node] = number + 1;
    }
  }

  /** Short beginnings first, as longer ones are linked to them. */
  #link(): void {
    const nodes = [ROOT];
    for (let i = 0; i < nodes.length; i++) {
      const node = nodes[i]!;
      for (let child = this.#child[node]!; child !== ROOT; child = this.#sibling[child]!) {
        nodes.push(child);
        const shorter = node === ROOT ? ROOT : this.step(this.#shorter[node]!, this.#unit[child]!);
        this.#shorter[child] = shorter;
        this.#found[child] ||= this.#found[shorter]!;
      }
    }
  }
}
