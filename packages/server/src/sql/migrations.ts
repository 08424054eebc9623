import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { catalogMigrations, type Migration, nessieMigrations } from "@rat/lakehouse"

const folder = join(import.meta.dirname, "migrations")

const read = (file: string): Migration => {
  const [, id, name] = /^(\d+)_(.+)\.sql$/.exec(file)!
  return { id: Number(id), name: name!, sql: readFileSync(join(folder, file), "utf8") }
}

/** The whole schema of a server, in the order in which it is applied. */
export const migrations: ReadonlyArray<Migration> = [
  ...catalogMigrations,
  ...nessieMigrations,
  ...readdirSync(folder)
    .filter((file) => file.endsWith(".sql"))
    .map(read),
].sort((left, right) => left.id - right.id)
