import { readFileSync } from "node:fs"
import type { Migration } from "../postgres/Migrator.ts"

const read = (file: string) => readFileSync(new URL(`./migrations/${file}`, import.meta.url), "utf8")

/** The catalog's steps in the list that the server applies; the numbers are unique over all packages. */
export const catalogMigrations: ReadonlyArray<Migration> = [
  { id: 1, name: "catalog", sql: read("0001_catalog.sql") },
  { id: 5, name: "rebase", sql: read("0005_rebase.sql") },
  { id: 13, name: "fence", sql: read("0013_fence.sql") },
]
