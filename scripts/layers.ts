import { readdir, readFile } from "node:fs/promises"
import { join } from "node:path"

/** What each package may import (docs/DESIGN: dependencies point downwards only). */
const allowed: Record<string, ReadonlyArray<string>> = {
  domain: [],
  lakehouse: ["domain"],
  runner: ["domain", "lakehouse"],
  query: ["domain", "lakehouse"],
  client: ["domain"],
  server: ["domain", "lakehouse"],
  cli: ["domain", "client", "server"],
}

/** The one file that composes all roles in a process, and so may import the roles themselves. */
const composition = "packages/server/src/node/Node.ts"

/** Slot processes load lean parts of packages, without Effect. */
const deepImports = ["@rat/lakehouse/slot", "@rat/domain/suggestion"]

const importPattern = /(?:from\s+|import\s+|import\(\s*)["']([^"']+)["']/g

/** Every import that breaks the layer rule, as `file: reason`. */
export const checkLayers = async (root: string): Promise<Array<string>> => {
  const problems: Array<string> = []
  for (const [name, below] of Object.entries(allowed)) {
    const folder = join(root, "packages", name, "src")
    for (const entry of await readdir(folder, { recursive: true })) {
      if (!entry.endsWith(".ts")) continue
      const file = join("packages", name, "src", entry)
      const isTest = entry.endsWith(".test.ts")
      const source = await readFile(join(root, file), "utf8")
      for (const [, specifier = ""] of source.matchAll(importPattern)) {
        const match = /^@rat\/([^/]+)(\/.*)?$/.exec(specifier)
        if (match === null) {
          if (specifier.startsWith(".") && leavesPackage(entry, specifier)) {
            problems.push(`${file}: imports "${specifier}" from another package by path; import "@rat/<package>"`)
          }
          if (name === "domain" && !isTest && !specifier.startsWith(".") && !/^effect(\/|$)/.test(specifier)) {
            problems.push(`${file}: domain depends on effect only, not on "${specifier}"`)
          }
          continue
        }
        const [, target = "", deeper] = match
        if (deeper !== undefined && !deepImports.includes(specifier)) {
          problems.push(`${file}: imports "${specifier}"; only a package's index may be imported`)
        }
        if (target === name || below.includes(target)) continue
        if (file === composition && ["runner", "query"].includes(target)) continue
        problems.push(`${file}: ${name} may not import ${target}`)
      }
    }
  }
  return problems
}

const leavesPackage = (entry: string, specifier: string) => {
  const depth = entry.split("/").length - 1
  return (specifier.match(/\.\.\//g) ?? []).length > depth
}
