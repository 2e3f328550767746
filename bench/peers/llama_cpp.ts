/**
 * llama.cpp on the same file and threads, as a child process that answers one request at a time.
 *
 * @module
 */
import { TextLineStream } from "../text_lines.ts";

export class LlamaCpp implements AsyncDisposable {
  private constructor(
    readonly version: string,
    private readonly child: Deno.ChildProcess,
    private readonly requests: WritableStreamDefaultWriter<Uint8Array>,
    private readonly answers: ReadableStreamDefaultReader<string>,
  ) {}

  /** Undefined where the Python given has no llama-cpp-python. */
  static async start(
    python: string,
    model: string,
    numThreads: number,
  ): Promise<LlamaCpp | undefined> {
    const script = new URL("./llama_cpp_peer.py", import.meta.url).pathname;
    const child = new Deno.Command(python, {
      args: [script, model, String(numThreads)],
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    const answers = child.stdout
      .pipeThrough(new TextDecoderStream())
      .pipeThrough(new TextLineStream())
      .getReader();
    const { value, done } = await answers.read();
    if (done) return undefined;
    return new LlamaCpp(JSON.parse(value).version, child, child.stdin.getWriter(), answers);
  }

  /** Tokens a second of one prompt of `numTokens`. */
  async prefill(numTokens: number): Promise<number> {
    return numTokens / await this.seconds({ op: "prefill", num_tokens: numTokens });
  }

  /** Tokens a second, over all sequences, of `numTokens` decode steps of `batch` sequences. */
  async decode(batch: number, numTokens: number): Promise<number> {
    return batch * numTokens / await this.seconds({ op: "decode", batch, num_tokens: numTokens });
  }

  private async seconds(request: Record<string, unknown>): Promise<number> {
    await this.requests.write(new TextEncoder().encode(JSON.stringify(request) + "\n"));
    const { value, done } = await this.answers.read();
    if (done) throw new Error("Cannot measure llama.cpp: the process exited");
    return JSON.parse(value).seconds;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.requests.close();
    await this.child.status;
  }
}
