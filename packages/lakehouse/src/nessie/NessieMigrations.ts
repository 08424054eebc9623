import { readFileSync } from "node:fs"
import type { Migration } from "../postgres/Migrator.ts"

const read = (file: string) => readFileSync(new URL(`./migrations/${file}`, import.meta.url), "utf8")

/** The tables beside a Nessie catalog, in the list that the server applies; the numbers are unique over all packages. */
export const nessieMigrations: ReadonlyArray<Migration> = [
  { id: 8, name: "nessie", sql: read("0008_nessie.sql") },
  { id: 15, name: "nessie_fence", sql: read("0015_nessie_fence.sql") },
]
