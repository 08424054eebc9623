import { readFileSync } from "node:fs"
import { join } from "node:path"
import { catalogMigrations, type Migration, nessieMigrations } from "@rat/lakehouse"

const read = (file: string): Migration => {
  const [, id, name] = /^(\d+)_(.+)\.sql$/.exec(file)!
  return { id: Number(id), name: name!, sql: readFileSync(join(import.meta.dirname, "migrations", file), "utf8") }
}

/** The whole schema of a server, in the order in which it is applied. */
export const migrations: ReadonlyArray<Migration> = [
  ...catalogMigrations,
  ...nessieMigrations,
  ...[
    "0002_event.sql",
    "0003_run.sql",
    "0004_file.sql",
    "0006_iceberg_rest.sql",
    "0007_maintenance.sql",
    "0009_publish.sql",
  ].map(read),
].sort((left, right) => left.id - right.id)
