/**
 * The connections of a server, as many as there are files for. Where one more comes, the one goes that has
 * let the server wait longest for a request: times alone bound little where new connections cost nothing.
 *
 * @module
 */
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";

/** Open files: taken for granted where the limit is not told, used at most, left to ourselves. */
const USUAL_FILES = 1024, MAX_FILES = 65_536, OWN_FILES = 256;
const MIN_CONNECTIONS = 64;

/** @param openFiles that the process may have, where that is known */
export function maxConnectionsFor(openFiles: number = USUAL_FILES): number {
  return Math.max(MIN_CONNECTIONS, Math.min(openFiles, MAX_FILES) - OWN_FILES);
}

/** See the module's comment. */
export class Connections {
  readonly #most: number;
  readonly #open = new Set<Socket>();
  /** Those of which no request has a whole head; then those with one, whose body may be to come. */
  readonly #headless = new Set<Socket>();
  readonly #asked = new Map<Socket, IncomingMessage>();

  constructor(most: number) {
    this.#most = most;
  }

  /** Takes a new one, in place of another if need be. */
  add(socket: Socket): void {
    if (this.#open.size >= this.#most && !this.#closeOldest()) {
      socket.destroy();
      return;
    }
    this.#open.add(socket);
    this.#headless.add(socket);
    socket.once("close", () => this.#forget(socket));
  }

  /** A request's head is whole. */
  begin(request: IncomingMessage): void {
    this.#headless.delete(request.socket);
    this.#asked.set(request.socket, request);
  }

  /** Its answer has left. */
  end({ socket }: IncomingMessage): void {
    this.#asked.delete(socket);
    if (this.#open.has(socket)) this.#headless.add(socket);
  }

  #closeOldest(): boolean {
    const [first] = this.#headless;
    const oldest = first ?? [...this.#asked].find(([, { complete }]) => !complete)?.[0];
    if (oldest === undefined) return false;
    this.#forget(oldest);
    oldest.destroy();
    return true;
  }

  #forget(socket: Socket): void {
    this.#open.delete(socket);
    this.#headless.delete(socket);
    this.#asked.delete(socket);
  }
}
