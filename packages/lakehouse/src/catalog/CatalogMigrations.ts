import { readFileSync } from "node:fs"
import type { Migration } from "../postgres/Migrator.ts"

/** The catalog's steps in the list that the server applies; the numbers are unique over all packages. */
export const catalogMigrations: ReadonlyArray<Migration> = [
  { id: 1, name: "catalog", sql: readFileSync(new URL("./migrations/0001_catalog.sql", import.meta.url), "utf8") },
]
