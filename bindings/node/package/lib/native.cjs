"use strict";
// Finds the native half: MESHWIRE_NATIVE_PATH, else the package of this platform, else a file beside this package.

const fs = require("node:fs");
const path = require("node:path");
const { version } = require("../package.json");

/** Which C library Linux has; nothing elsewhere. */
function libc() {
  if (process.platform !== "linux") return "";
  // musl has no version to report. Reports with the network in them are slow.
  if (process.report) process.report.excludeNetwork = true;
  const header = process.report?.getReport?.()?.header;
  return header && !header.glibcVersionRuntime ? "musl" : "gnu";
}

const platform = [process.platform, process.arch, libc()].filter(Boolean).join("-");
/** The package that has it. */
const name = `@meshwire/${platform}`;

function load() {
  const said = process.env.MESHWIRE_NATIVE_PATH;
  if (said) {
    try {
      return require(path.resolve(said));
    } catch (cause) {
      throw new Error(`meshwire: MESHWIRE_NATIVE_PATH is ${said}, which cannot be loaded: ${cause.message}`, { cause });
    }
  }
  try {
    return require(name);
  } catch (cause) {
    const local = path.join(__dirname, "..", "meshwire.node");
    if (fs.existsSync(local)) return require(local);
    const absent = cause.code === "MODULE_NOT_FOUND";
    throw new Error(
      `meshwire: the native package ${name} ${absent ? "is not installed" : `cannot be loaded (${cause.message})`} ` +
        `(platform ${process.platform}, architecture ${process.arch}${libc() ? `, libc ${libc()}` : ""}, Node ${process.versions.node}). ` +
        `It is an optional dependency of meshwire: install it with \`npm install ${name}@${version}\`, or from its tarball; after a lock file from another ` +
        `system or \`--omit=optional\`, remove node_modules and install again. A bundler must leave ${name} out of its bundle. ` +
        `To load a file of your own, set MESHWIRE_NATIVE_PATH.`,
      { cause },
    );
  }
}

module.exports = { native: load(), name, version };
