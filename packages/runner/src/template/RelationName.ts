/** Names of databases that would mean something else to the engine. */
const taken = new Set([
  "bronze",
  "silver",
  "gold",
  "system",
  "temp",
  "main",
  "memory",
  "information_schema",
  "pg_catalog",
])

/** Name of the database that holds a namespace's views in a slot. `:` is in no namespace. */
export const databaseOf = (namespace: string): string => (taken.has(namespace) ? `${namespace}:` : namespace)

export const quoted = (identifier: string): string => `"${identifier.replaceAll('"', '""')}"`

/**
 * Quoted three-part name under which SQL reads a table, in a slot and (but for the odd namespace called `temp`) in the
 * query workbench too, so that compiled SQL can be pasted there. Free of imports: slot processes load it.
 */
export const relationName = (namespace: string, layer: string, name: string): string =>
  [databaseOf(namespace), layer, name].map(quoted).join(".")
