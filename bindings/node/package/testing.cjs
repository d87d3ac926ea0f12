"use strict";
// A gateway for tests: a process of its own, on a free port, in memory, which ends with the process that started it.

const { spawn } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");
const readline = require("node:readline");
const { made } = require("./lib/errors.cjs");

const READY_MS = 10_000;
const QUOTED = 64 << 10;

// It kills the gateway when its standard input ends, which it does however the test ends; a line asks the gateway to stop.
const WATCHER = `exec 3<&0
"$@" </dev/null 3<&- & gateway=$!
(read -r stop <&3 && kill $gateway; cat <&3; kill -9 $gateway) >/dev/null 2>&1 & watch=$!
wait $gateway; code=$?
kill $watch 2>/dev/null
exit $code`;

function exists(program) {
  if (program.includes("/")) return fs.existsSync(program);
  return (process.env.PATH ?? "").split(path.delimiter).some((folder) => fs.existsSync(path.join(folder, program)));
}

/** A gateway that runs until it is stopped, and never longer than this process. */
class Gateway {
  #process;
  #address;
  #ended;

  constructor(process, address, ended) {
    this.#process = process;
    this.#address = address;
    this.#ended = ended;
  }

  /** Starts the program of MESHWIRE_BIN, else `meshwire` of the search path. */
  static async start({ args = ["--memory"], listen = "127.0.0.1:0", onLog } = {}) {
    const program = process.env.MESHWIRE_BIN || "meshwire";
    if (!exists(program)) {
      const text = `there is no program ${JSON.stringify(program)}; set MESHWIRE_BIN to the meshwire binary, or put meshwire on the PATH`;
      throw made("NOT_FOUND", "start gateway", text);
    }
    const child = spawn("sh", ["-c", WATCHER, "sh", program, "serve", "--listen", listen, ...args], { stdio: "pipe" });
    // A gateway alone keeps no test alive.
    const ended = new Promise((resolve) => child.once("exit", (code) => resolve(code)));
    const failed = new Promise((_, reject) => child.once("error", reject));
    let said = "";
    readline.createInterface({ input: child.stderr }).on("line", (line) => {
      if (said.length < QUOTED) said += `${line}\n`;
      onLog?.(line);
    });
    const listening = new Promise((resolve) => {
      readline.createInterface({ input: child.stdout }).on("line", (line) => {
        if (line.startsWith("listening ")) resolve(line.slice("listening ".length).trim());
      });
    });
    let timer;
    const late = new Promise((resolve) => (timer = setTimeout(resolve, READY_MS)));
    const address = await Promise.race([listening, ended.then(() => undefined), failed, late]);
    clearTimeout(timer);
    if (typeof address !== "string") {
      child.stdin.destroy();
      await ended;
      throw made("UNAVAILABLE", "start gateway", `${program} serve did not say that it listens; it said: ${said.trim()}`);
    }
    for (const one of [child, child.stdin, child.stdout, child.stderr]) one.unref?.();
    return new Gateway(child, address, ended);
  }

  /** Where it listens, for connect(). */
  get url() {
    return `mesh://${this.#address}`;
  }

  /** Where it listens, as host:port. */
  get address() {
    return this.#address;
  }

  /** Kills it at once, as `kill -9` does, and waits for its end. */
  async kill() {
    this.#process.ref();
    this.#process.stdin.destroy();
    await this.#ended;
  }

  /** Asks it to stop, as SIGTERM does, and waits for its end. */
  async stop() {
    this.#process.ref();
    if (!this.#process.stdin.destroyed) this.#process.stdin.write("stop\n");
    const code = await this.#ended;
    if (code !== 0) throw made("INTERNAL", "stop gateway", `the gateway ended with ${code}`);
  }
}

if (Symbol.asyncDispose) {
  Object.defineProperty(Gateway.prototype, Symbol.asyncDispose, { value: Gateway.prototype.kill, configurable: true, writable: true });
}

exports.Gateway = Gateway;
