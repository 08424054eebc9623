import type { PipelineConfig } from "@rat/domain"
import { parse } from "yaml"

/** Settings as somebody wrote them: those that are absent take the next source's value. */
export type Settings = { -readonly [Key in keyof PipelineConfig]?: PipelineConfig[Key] }

/** A value as config.yaml (typed) or an annotation (text) gives it, or why it is refused. */
export type Read = { readonly set: Settings } | { readonly code: string; readonly problem: string }

export type Reader = (key: string, value: unknown) => Read

export const refused = (problem: string): Read => ({ code: "config.invalid_value", problem })
export const notAvailable = (problem: string): Read => ({ code: "config.not_available", problem })

export const show = (value: unknown): string =>
  typeof value === "string" ? `"${value}"` : (JSON.stringify(value) ?? "nothing")

/** Longest name of a column. */
export const nameLimit = 255

export const text =
  (set: (value: string) => Settings, limit: number): Reader =>
  (key, value) => {
    if (typeof value !== "string") return refused(`${key} must be text, not ${show(value)}.`)
    if (value.trim() === "") return refused(`${key} is empty. Give it a value or remove it.`)
    if (value.length > limit) return refused(`${key} is longer than ${limit} characters.`)
    return { set: set(value) }
  }

export const flag =
  (set: (value: boolean) => Settings): Reader =>
  (key, value) => {
    const word = typeof value === "string" ? value.toLowerCase() : value
    return word === true || word === "true"
      ? { set: set(true) }
      : word === false || word === "false"
        ? { set: set(false) }
        : refused(`${key} must be true or false, not ${show(value)}.`)
  }

export const oneOf =
  <A extends string | number>(values: ReadonlyArray<A>, set: (value: A) => Settings): Reader =>
  (key, value) => {
    const found = values.find((candidate) => String(candidate) === String(value).toLowerCase())
    return found === undefined
      ? refused(`${key} must be ${values.join(" or ")}, not ${show(value)}.`)
      : { set: set(found) }
  }

/** Parts between commas that stand in no brackets and no double quotes. */
const commaParts = (value: string): ReadonlyArray<string> => {
  const parts: Array<string> = [""]
  let depth = 0
  let isQuoted = false
  for (const character of value) {
    if (character === '"') isQuoted = !isQuoted
    if (!isQuoted && "([{".includes(character)) depth++
    if (!isQuoted && ")]}".includes(character)) depth--
    if (character === "," && depth === 0 && !isQuoted) parts.push("")
    else parts[parts.length - 1] += character
  }
  return parts.map((part) => part.trim())
}

/** A list of config.yaml, or text with commas; one thing alone is a list of one. An empty list is one too. */
export const listItems = (value: unknown): ReadonlyArray<unknown> => {
  if (Array.isArray(value)) return value
  if (typeof value !== "string") return [value]
  return value.trim() === "" ? [] : commaParts(value)
}

/** A column's name, in double quotes or not; null when it is none. */
export const columnName = (value: unknown): string | null => {
  if (typeof value !== "string") return null
  const trimmed = value.trim()
  const name =
    trimmed.length > 1 && trimmed.startsWith('"') && trimmed.endsWith('"')
      ? trimmed.slice(1, -1).replaceAll('""', '"')
      : trimmed
  return name === "" || name.length > nameLimit ? null : name
}

export const columnList =
  (set: (names: ReadonlyArray<string>) => Settings): Reader =>
  (key, value) => {
    const items = listItems(value)
    const names = items.map(columnName)
    const bad = names.indexOf(null)
    if (items.length === 0) return refused(`${key} is empty. Name a column or remove it.`)
    return bad === -1
      ? { set: set(names.filter((name) => name !== null)) }
      : refused(
          `${key} must name columns, as a list or with commas between them; ${show(items[bad])} is no name of one.`,
        )
  }

/** A mapping of config.yaml, or in annotations the same on one line: `old: new, other: name`. Null when it is none. */
export const mappingOf = (value: unknown): Readonly<Record<string, unknown>> | null => {
  let found = value
  if (typeof value === "string") {
    try {
      found = parse(value.trim().startsWith("{") ? value : `{${value}}`)
    } catch {
      return null
    }
  }
  return typeof found === "object" && found !== null && !Array.isArray(found)
    ? Object.fromEntries(Object.entries(found))
    : null
}
