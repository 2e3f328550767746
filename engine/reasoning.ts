/**
 * Reasoning, split from the answer by the markers of the model's chat template: `<think>…</think>`.
 *
 * @module
 */
import type { ReasoningMarkers } from "../model/spec.ts";
import { StopMatcher, StopTexts } from "./stop.ts";
import type { Part } from "./types.ts";

/** Where an output of a model that reasons begins. */
export interface ReasoningStart {
  readonly markers: ReasoningMarkers;
  /** The prompt has opened the reasoning already, as templates do that always want one. */
  readonly isOpen: boolean;
}

/** The stage behind the stop texts: text in, parts out. */
export interface OutputParser {
  push(text: string): readonly Part[];
  /** What was held back. */
  flush(): readonly Part[];
}

/** All is the answer's text. */
export const plainText: OutputParser = {
  push: (text) => partOf("text", text),
  flush: () => [],
};

/**
 * Reasoning may stand at the output's beginning alone: a marker in an answer is what the answer talks
 * about. Markers are left out, all else is kept as it is, as vLLM does.
 */
export class ReasoningParser implements OutputParser {
  readonly #start: string;
  readonly #end: StopMatcher;
  #state: "before" | "inside" | "behind" = "before";
  /** What an output is that begins with no marker. */
  readonly #unmarked: "inside" | "behind";
  /** White space, and what may become the first marker. */
  #held = "";

  constructor({ markers, isOpen }: ReasoningStart) {
    this.#start = markers.start;
    this.#end = new StopMatcher(new StopTexts([markers.end], { includeStop: false }));
    this.#unmarked = isOpen ? "inside" : "behind";
  }

  push(text: string): readonly Part[] {
    switch (this.#state) {
      case "before":
        return this.#begin(this.#held + text);
      case "inside": {
        const found = this.#end.push(text);
        if (found.stop === undefined) return partOf("reasoning", found.text);
        this.#state = "behind";
        return [...partOf("reasoning", found.text), ...partOf("text", found.rest)];
      }
      case "behind":
        return partOf("text", text);
    }
  }

  flush(): readonly Part[] {
    const before = this.#state === "before" ? this.#leaveBeginning(this.#held) : [];
    return [...before, ...partOf("reasoning", this.#end.flush())];
  }

  #begin(text: string): readonly Part[] {
    const begun = text.trimStart();
    if (begun.startsWith(this.#start)) {
      this.#state = "inside";
      return this.push(begun.slice(this.#start.length));
    }
    if (!this.#start.startsWith(begun)) return this.#leaveBeginning(text);
    this.#held = text;
    return [];
  }

  #leaveBeginning(text: string): readonly Part[] {
    this.#held = "";
    this.#state = this.#unmarked;
    return this.push(text);
  }
}

/** What parts of a kind say together. */
export function textOf(parts: readonly Part[], kind: Part["kind"]): string {
  let text = "";
  for (const part of parts) if (part.kind === kind) text += part.text;
  return text;
}

function partOf(kind: Part["kind"], text: string): readonly Part[] {
  return text === "" ? [] : [{ kind, text }];
}
