/**
 * What somebody would try who runs code of their own in a slot process. Each text is the body of an async function that
 * answers with what it got, or throws. Test support only.
 */

export interface Surroundings {
  /** A TCP port and a Unix socket of the machine that answer. */
  readonly port: number
  readonly socket: string
  /** A file of the node, in its data folder. */
  readonly secret: string
  /** Folder of another slot, in whose `in/` lies `theirs`. */
  readonly neighbour: string
  readonly neighbourPid: number
  readonly nodePid: number
  /** The attacked slot's own folder, in whose `in/` lies `object`, a hard link of a file of the store. */
  readonly folder: string
  /** Folder of the code that slots run. */
  readonly code: string
}

const fs = 'const fs = process.getBuiltinModule("node:fs"); '
const net = 'const net = process.getBuiltinModule("node:net"); '
const spawn = 'const { spawnSync, spawn } = process.getBuiltinModule("node:child_process"); '
const dials = (target: string) =>
  `${net} return new Promise((resolve, reject) => net.connect(${target}).on("connect", () => resolve("connected")).on("error", reject))`

export const attacks = (at: Surroundings): ReadonlyArray<readonly [name: string, code: string]> => [
  ["dials a port of the machine", dials(`{ host: "127.0.0.1", port: ${at.port} }`)],
  ["dials a Unix socket", dials(JSON.stringify(at.socket))],
  [
    "sends a datagram",
    `const socket = process.getBuiltinModule("node:dgram").createSocket("udp4")
     return new Promise((resolve, reject) => socket.on("error", reject).send("x", ${at.port}, "127.0.0.1", (error) => error ? reject(error) : resolve("sent")))`,
  ],
  [
    "listens",
    `${net} return new Promise((resolve, reject) => net.createServer().on("error", reject).listen(0, "0.0.0.0", () => resolve("listens")))`,
  ],
  ["reads users of the machine", `${fs} return fs.readFileSync("/etc/passwd", "utf8")`],
  ["lists the home of root", `${fs} return fs.readdirSync("/root").join() || "empty"`],
  ["reads the node's data", `${fs} return fs.readFileSync(${JSON.stringify(at.secret)}, "utf8")`],
  [
    "reads another slot's inputs",
    `${fs} return fs.readFileSync(${JSON.stringify(`${at.neighbour}/in/theirs`)}, "utf8")`,
  ],
  [
    "writes into another slot",
    `${fs} return String(fs.writeFileSync(${JSON.stringify(`${at.neighbour}/out/mine`)}, "x"))`,
  ],
  ["writes beside its folder", `${fs} return String(fs.writeFileSync(${JSON.stringify(`${at.folder}/../x`)}, "x"))`],
  ["writes to /tmp", `${fs} return String(fs.writeFileSync("/tmp/rat-slot-escape", "x"))`],
  [
    "changes the code of slots",
    `${fs} return String(fs.appendFileSync(${JSON.stringify(`${at.code}/TestSlot.ts`)}, "//"))`,
  ],
  [
    "changes an object of the store",
    `${fs} return String(fs.writeFileSync(${JSON.stringify(`${at.folder}/in/object`)}, "forged"))`,
  ],
  [
    "truncates an object of the store",
    `${fs} return String(fs.truncateSync(${JSON.stringify(`${at.folder}/in/object`)}, 0))`,
  ],
  ["makes an object writable", `${fs} return String(fs.chmodSync(${JSON.stringify(`${at.folder}/in/object`)}, 0o666))`],
  [
    "gives an object another time",
    `${fs} return String(fs.utimesSync(${JSON.stringify(`${at.folder}/in/object`)}, 1, 1))`,
  ],
  [
    "takes an object to where it may write",
    `${fs} fs.linkSync(${JSON.stringify(`${at.folder}/in/object`)}, ${JSON.stringify(`${at.folder}/out/object`)})
     return String(fs.appendFileSync(${JSON.stringify(`${at.folder}/out/object`)}, "forged"))`,
  ],
  ["removes an input", `${fs} return String(fs.unlinkSync(${JSON.stringify(`${at.folder}/in/object`)}))`],
  [
    "makes a link to elsewhere",
    `${fs} fs.symlinkSync("/etc/passwd", ${JSON.stringify(`${at.folder}/out/link`)}); return fs.readFileSync(${JSON.stringify(`${at.folder}/out/link`)}, "utf8")`,
  ],
  ["reads the node's environment", `${fs} return fs.readFileSync("/proc/${at.nodePid}/environ", "utf8")`],
  ["reads another slot's command", `${fs} return fs.readFileSync("/proc/${at.neighbourPid}/cmdline", "utf8")`],
  [
    "looks through its parent's root",
    `${fs} return fs.readFileSync("/proc/" + process.ppid + "/root/etc/passwd", "utf8")`,
  ],
  ["kills another slot", `return String(process.kill(${at.neighbourPid}, "SIGKILL"))`],
  ["stops the node", `return String(process.kill(${at.nodePid}, "SIGCONT"))`],
  [
    "becomes root",
    `if (process.getuid() === 0) throw new Error("it is, without a right of root's")
     process.setgid(0); process.setuid(0); return "root"`,
  ],
  ["starts a program", `${spawn} const done = spawnSync("true"); if (done.error) throw done.error; return "started"`],
  [
    "floods the machine with processes",
    `${spawn} let started = 0
     for (let index = 0; index < 200; index++) { const child = spawn("sleep", ["1"]); child.on("error", () => {}); if (child.pid !== undefined) started++ }
     if (started < 150) throw new Error(started + " processes")
     return started + " processes"`,
  ],
]
