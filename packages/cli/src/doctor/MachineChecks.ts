import { accessSync, constants, existsSync, statfsSync } from "node:fs"
import { connect, createServer } from "node:net"
import { dirname, resolve } from "node:path"
import { bytesText } from "../output/Quantity.ts"
import { type Check, failed, ok, warn } from "./Check.ts"

/** The oldest Node that Effect 4 runs on. */
const oldestNode = [22, 19] as const

export const checkNode = (version = process.versions.node): Check => {
  const [major = 0, minor = 0] = version.split(".").map(Number)
  const isEnough = major > oldestNode[0] || (major === oldestNode[0] && minor >= oldestNode[1])
  return isEnough
    ? ok("node", `Node ${version}`)
    : failed(
        "node",
        `Node ${version}`,
        `Start RAT with ./rat, which brings its own Node, or use ${oldestNode.join(".")} or newer.`,
      )
}

/** The folder itself, or the nearest one above it that exists: where it will be made. */
const existing = (folder: string): string => (existsSync(folder) ? folder : existing(dirname(folder)))

export const checkDataFolder = (data: string): Check => {
  const folder = resolve(data)
  const place = existing(folder)
  try {
    accessSync(place, constants.W_OK | constants.X_OK)
  } catch {
    return failed(
      "data folder",
      `${place} cannot be written by this user`,
      "Choose another one with --data, or change its owner.",
    )
  }
  return ok("data folder", place === folder ? folder : `${folder} (will be made by rat up)`)
}

const lowDisk = 2 * 1024 ** 3
const noDisk = 200 * 1024 ** 2

export const checkDisk = (data: string): Check => {
  const place = existing(resolve(data))
  const { bavail, bsize } = statfsSync(place)
  const free = bavail * bsize
  const detail = `${bytesText(free)} free at ${place}`
  if (free < noDisk) return failed("disk", detail, "Make room, or choose another disk with --data.")
  return free < lowDisk
    ? warn("disk", detail, "Runs write new files before old ones go: make room soon.")
    : ok("disk", detail)
}

/** Whether something accepts connections there, within two seconds. */
const accepts = (host: string, port: number): Promise<boolean> =>
  new Promise((resolveWith) => {
    const socket = connect({ host, port, timeout: 2000 })
    const end = (answer: boolean) => {
      socket.destroy()
      resolveWith(answer)
    }
    socket.once("connect", () => end(true))
    socket.once("timeout", () => end(false))
    socket.once("error", () => end(false))
  })

const canListen = (host: string, port: number): Promise<string | undefined> =>
  new Promise((resolveWith) => {
    const server = createServer()
    server.once("error", (error: NodeJS.ErrnoException) => resolveWith(error.code ?? error.message))
    server.listen({ host, port }, () => server.close(() => resolveWith(undefined)))
  })

/** Whether `rat up` could listen there. */
export const checkPort = async (url: string, isOurs: boolean): Promise<Check> => {
  const { hostname, port } = new URL(url)
  const host = hostname.replace(/^\[|\]$/g, "")
  const place = `${host}:${port || "80"}`
  if (isOurs) return ok("port", `${place} is in use by a RAT server`)
  const problem = await canListen(host, Number(port || 80))
  if (problem === undefined) return ok("port", `${place} is free`)
  return problem === "EADDRINUSE"
    ? failed("port", `${place} is in use by another program`, "Use another port: rat up --listen 127.0.0.1:8081.")
    : failed("port", `${place} cannot be used (${problem})`, "Use another address: rat up --listen 127.0.0.1:8081.")
}

export const checkPostgres = async (databaseUrl: string | undefined): Promise<Check> => {
  if (databaseUrl === undefined || databaseUrl === "") return ok("postgres", "its own, in the data folder")
  if (!URL.canParse(databaseUrl)) {
    return failed(
      "postgres",
      "DATABASE_URL is not an address",
      "Write it as postgres://USER:PASSWORD@HOST:5432/DATABASE.",
    )
  }
  const { hostname, port } = new URL(databaseUrl)
  const place = `${hostname}:${port || 5432}`
  return (await accepts(hostname.replace(/^\[|\]$/g, ""), Number(port || 5432)))
    ? ok("postgres", `DATABASE_URL, ${place} accepts connections`)
    : failed(
        "postgres",
        `DATABASE_URL, ${place} does not answer`,
        "Start that Postgres, or unset DATABASE_URL to use the built-in one.",
      )
}

export const checkObjectStore = async (endpoint: string | undefined): Promise<Check> => {
  if (endpoint === undefined || endpoint === "") return ok("object store", "files in the data folder")
  const url = endpoint.includes("://") ? endpoint : `http://${endpoint}`
  if (!URL.canParse(url))
    return failed("object store", `S3_ENDPOINT "${endpoint}" is not an address`, "Write it as HOST:PORT or as a URL.")
  const { hostname, port, protocol } = new URL(url)
  const number = Number(port || (protocol === "https:" ? 443 : 80))
  return (await accepts(hostname.replace(/^\[|\]$/g, ""), number))
    ? ok("object store", `${endpoint} accepts connections`)
    : failed(
        "object store",
        `${endpoint} does not answer`,
        "Start that store, or unset S3_ENDPOINT to keep objects in the data folder.",
      )
}
