import { didYouMean, MergeStrategy, type PipelineConfig, supportedStrategies } from "@rat/domain"
import { parseBytes } from "@rat/lakehouse"

/** Settings as somebody wrote them: those that are absent take the next source's value. */
export type Settings = { -readonly [Key in keyof PipelineConfig]?: PipelineConfig[Key] }

/** A value as config.yaml (typed) or an annotation (text) gives it, or why it is refused. */
type Read = { readonly set: Settings } | { readonly code: string; readonly problem: string }

const refused = (problem: string): Read => ({ code: "config.invalid_value", problem })
const notAvailable = (problem: string): Read => ({ code: "config.not_available", problem })

const show = (value: unknown): string =>
  typeof value === "string" ? `"${value}"` : (JSON.stringify(value) ?? "nothing")

const text =
  (set: (value: string) => Settings, limit: number) =>
  (key: string, value: unknown): Read => {
    if (typeof value !== "string") return refused(`${key} must be text, not ${show(value)}.`)
    if (value.trim() === "") return refused(`${key} is empty. Give it a value or remove it.`)
    if (value.length > limit) return refused(`${key} is longer than ${limit} characters.`)
    return { set: set(value) }
  }

const positiveInteger = (value: unknown): number | null => {
  const number = typeof value === "string" && /^\d+$/.test(value) ? Number(value) : value
  return typeof number === "number" && Number.isSafeInteger(number) && number > 0 ? number : null
}

const memoryLimit = (key: string, value: unknown): Read => {
  const bytes = typeof value === "string" || typeof value === "number" ? parseBytes(String(value)) : null
  return bytes === null
    ? refused(`${key} must be a size such as 512MB or 2GiB, not ${show(value)}.`)
    : { set: { memory_limit_bytes: bytes } }
}

const mergeStrategy = (key: string, value: unknown): Read => {
  const supported = supportedStrategies.join(" or ")
  const strategy = MergeStrategy.literals.find((candidate) => candidate === value)
  if (strategy === undefined) {
    const hint = typeof value === "string" ? didYouMean(value, supportedStrategies) : ""
    return refused(`${key} ${show(value)} does not exist.${hint} Use ${supported}.`)
  }
  return supportedStrategies.includes(strategy)
    ? { set: { merge_strategy: strategy } }
    : notAvailable(`${key} ${strategy} is not available yet. Use ${supported}.`)
}

const materialized = (key: string, value: unknown): Read => {
  if (value === "table") return { set: { materialized: "table" } }
  return value === "view" || value === "incremental" || value === "ephemeral"
    ? notAvailable(`${key}: ${value} is not available yet: every pipeline makes a table. Remove the key or use table.`)
    : refused(`${key} must be table, not ${show(value)}.`)
}

/** The settings that something reads. */
const known: { readonly [Key in string]: (key: string, value: unknown) => Read } = {
  description: text((description) => ({ description }), 5_000),
  materialized,
  merge_strategy: mergeStrategy,
  watermark_column: text((watermark_column) => ({ watermark_column }), 255),
  memory_limit: memoryLimit,
  memory_limit_bytes: memoryLimit,
  timeout_seconds: (key, value) => {
    const seconds = positiveInteger(value)
    return seconds === null
      ? refused(`${key} must be a whole number of seconds above 0, not ${show(value)}.`)
      : { set: { timeout_seconds: seconds } }
  },
}

const keyed = "It belongs to the strategies incremental, delete_insert, scd2 and soft_delete"
const scd = "It belongs to the strategy scd2"
const retries = "Failed runs are not repeated by themselves yet: run the pipeline again"

/** Settings that the ancestor had and that nothing reads here yet: accepting them in silence would be a lie. */
const unread: { readonly [Key in string]: string } = {
  unique_key: `${keyed}, which are not available yet`,
  partition_column: "It belongs to the strategy snapshot, which is not available yet",
  partition_by: "Partitioned tables are not available yet",
  scd_valid_from: `${scd}, which is not available yet`,
  scd_valid_to: `${scd}, which is not available yet`,
  scd_close_missing: `${scd}, which is not available yet`,
  archive_landing_zones: "Files stay in their landing zone after a run; moving them is not available yet",
  max_retries: retries,
  retry_delay_seconds: retries,
  vars: "Template variables are not available yet",
  skip_hooks: "Hooks are not available yet",
  type: "A pipeline's type follows from its file: pipeline.sql is SQL",
}

export const settingKeys: ReadonlyArray<string> = Object.keys(known)

/** Reads one setting; `key` is lower case. */
export const readSetting = (key: string, value: unknown): Read => {
  const read = Object.hasOwn(known, key) ? known[key] : undefined
  if (read !== undefined) return read(key, value)
  if (Object.hasOwn(unread, key)) {
    return notAvailable(`Nothing reads ${key} yet. ${unread[key]}. Remove the key.`)
  }
  return {
    code: "config.unknown_key",
    problem: `Unknown setting "${key}".${didYouMean(key, settingKeys)} There are: ${settingKeys.join(", ")}.`,
  }
}
