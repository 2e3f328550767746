/**
 * Conversations, their messages as OpenAI writes them.
 *
 * @module
 */

/** A text among the parts of a message's content. */
export interface TextPart {
  /** There is no other kind. */
  readonly type: "text";
  /** What is said. */
  readonly text: string;
}

/** What an assistant asked a tool for. */
export interface ToolCall {
  /** By which the tool's message refers to it. */
  readonly id?: string | undefined;
  /** `function` */
  readonly type?: string | undefined;
  /** The function asked for. */
  readonly function: {
    /** Its name. */
    readonly name: string;
    /** JSON, as the model wrote it, or what it says. */
    readonly arguments?: string | object | null | undefined;
  };
}

/** One message. Null is as good as absent. */
export interface Message {
  /** `system`, `developer`, `user`, `assistant`, `tool`, or what else the template knows. */
  readonly role: string;
  /** What is said; only beside `tool_calls` it may be absent. */
  readonly content?: string | readonly TextPart[] | null | undefined;
  /** Who says it, for templates that tell several users apart. */
  readonly name?: string | null | undefined;
  /** What an assistant thought before it said this. */
  readonly reasoning?: string | null | undefined;
  /** The same, by its older name. */
  readonly reasoning_content?: string | null | undefined;
  /** What an assistant asked tools for. */
  readonly tool_calls?: readonly ToolCall[] | null | undefined;
  /** The call that a tool answers. */
  readonly tool_call_id?: string | null | undefined;
}

/** How messages become a text. Every field is optional; defaults in brackets. */
export interface ConversationOptions {
  // #region CONVERSATION_FIELDS
  /** Tools that the chat template is told of, as OpenAI writes them. [none] */
  readonly tools?: readonly Readonly<Record<string, unknown>>[];
  /** Documents that the chat template is told of. [none] */
  readonly documents?: readonly Readonly<Record<string, unknown>>[];
  /** Further variables of the chat template: enable_thinking. [none] */
  readonly chatTemplateKwargs?: Readonly<Record<string, unknown>>;
  /** Open the assistant's turn. [true, but with `continueFinalMessage`] */
  readonly addGenerationPrompt?: boolean;
  /** Go on with the last message instead of answering it. [false] */
  readonly continueFinalMessage?: boolean;
  // #endregion
}

/** Messages, and how they become a text. */
export interface Conversation extends ConversationOptions {
  /** At least one. */
  readonly messages: readonly Message[];
}
