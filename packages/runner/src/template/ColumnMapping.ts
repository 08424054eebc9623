import { columnName, mappingOf, nameLimit, type Reader, refused, show } from "./SettingValue.ts"

/** What people write where a mapping from column to something belongs, and how it looks when it is right. */
const expected = (key: string, example: string, value: unknown) =>
  refused(`${key} must be lines of \`${example}\`, not ${show(value)}.`)

/** `renamed_columns`: old name to new name. */
export const renamedColumns: Reader = (key, value) => {
  const mapping = mappingOf(value)
  if (mapping === null) return expected(key, "old_name: new_name", value)
  const taken = new Map<string, string>()
  for (const [from, to] of Object.entries(mapping)) {
    const name = columnName(to)
    if (name === null) return refused(`${key}: "${from}" must be followed by the column's new name, not ${show(to)}.`)
    const other = taken.get(name.toLowerCase())
    if (other !== undefined) return refused(`${key}: "${other}" and "${from}" cannot both become "${name}".`)
    taken.set(name.toLowerCase(), from)
  }
  return {
    set: { renamed_columns: Object.fromEntries(Object.entries(mapping).map(([from, to]) => [from, String(to)])) },
  }
}

/** `column_defaults`: a value for each column; whether it fits the column's type is seen when the table is written. */
export const columnDefaults: Reader = (key, value) => {
  const mapping = mappingOf(value)
  if (mapping === null) return expected(key, "column: value", value)
  const empty = Object.entries(mapping).find(([, given]) => given === null || given === undefined)
  return empty === undefined
    ? { set: { column_defaults: mapping } }
    : refused(`${key}: "${empty[0]}" has no value. NULL is what a column without a default has: remove it.`)
}

/** `columns`: descriptions by name, or a list of columns with `name` and `description`. */
export const columns: Reader = (key, value) => {
  const entries: Array<readonly [name: string, described: unknown]> = []
  if (Array.isArray(value)) {
    for (const item of value) {
      const mapping = typeof item === "object" ? mappingOf(item) : null
      const name = columnName(mapping?.name)
      if (mapping === null || name === null) return refused(`${key}: each column needs a name, not ${show(item)}.`)
      const { name: _, ...rest } = mapping
      entries.push([name, rest])
    }
  } else {
    const mapping = mappingOf(value)
    if (mapping === null) return expected(key, "column: description", value)
    entries.push(...Object.entries(mapping))
  }
  const descriptions: Record<string, string> = {}
  for (const [name, described] of entries) {
    const mapping = typeof described === "object" && described !== null ? mappingOf(described) : null
    const strange = Object.keys(mapping ?? {}).find((inner) => inner !== "description")
    if (strange !== undefined) {
      return refused(`${key}: nothing reads "${strange}" of column "${name}". A column has a description.`)
    }
    const text = mapping === null ? described : mapping.description
    if (text === undefined) continue
    if (typeof text !== "string" || text.trim() === "" || name.length > nameLimit) {
      return refused(`${key}: the description of "${name}" must be text, not ${show(text)}.`)
    }
    descriptions[name] = text
  }
  return { set: { column_descriptions: descriptions } }
}
