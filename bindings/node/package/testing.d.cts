/// <reference lib="esnext.disposable" />
/** A gateway for tests: a process of its own, on a free port, in memory, which ends with the process that started it. */
export declare class Gateway {
  private constructor();
  /**
   * Starts the program of `MESHWIRE_BIN`, else `meshwire` of the search path. `args` take the place of `--memory`; `onLog` is given each
   * line that it logs.
   */
  static start(options?: { args?: readonly string[]; listen?: string; onLog?: (line: string) => void }): Promise<Gateway>;
  /** Where it listens, for connect(). */
  readonly url: string;
  /** The same as host:port. */
  readonly address: string;
  /** Kills it at once, and waits for its end. */
  kill(): Promise<void>;
  /** Asks it to stop, and waits for its end. */
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}
