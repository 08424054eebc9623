import { readFileSync } from "node:fs"
import type { Migration } from "../postgres/Migrator.ts"

/** The tables beside a Nessie catalog, in the list that the server applies; the numbers are unique over all packages. */
export const nessieMigrations: ReadonlyArray<Migration> = [
  {
    id: 8,
    name: "nessie",
    sql: readFileSync(new URL("./migrations/0008_nessie.sql", import.meta.url), "utf8"),
  },
]
