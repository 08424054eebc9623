import {
  didYouMean,
  FormatVersion,
  MaintenancePolicyPart,
  MergeStrategy,
  maintenancePolicyKeys,
  maxConcurrencyLimit,
  namePattern,
  OnSchemaChange,
  priorityRange,
  retryRanges,
  supportedStrategies,
} from "@rat/domain"
import { parseBytes } from "@rat/lakehouse"
import { Result, Schema } from "effect"
import { partitionBy, sortBy } from "./ColumnExpression.ts"
import { columnDefaults, columns, renamedColumns } from "./ColumnMapping.ts"
import {
  columnList,
  flag,
  listItems,
  mappingOf,
  nameLimit,
  notAvailable,
  oneOf,
  type Read,
  type Reader,
  refused,
  type Settings,
  show,
  text,
} from "./SettingValue.ts"

const positiveInteger = (value: unknown): number | null => {
  const number = typeof value === "string" && /^\d+$/.test(value) ? Number(value) : value
  return typeof number === "number" && Number.isSafeInteger(number) && number > 0 ? number : null
}

/** A number of a range, both ends inclusive. */
const numberIn =
  (
    range: { readonly least: number; readonly most: number },
    isWhole: boolean,
    set: (value: number) => Settings,
  ): Reader =>
  (key, value) => {
    const number = typeof value === "string" && /^-?\d+(\.\d+)?$/.test(value) ? Number(value) : value
    const isFine =
      typeof number === "number" &&
      number >= range.least &&
      number <= range.most &&
      (!isWhole || Number.isInteger(number))
    return isFine
      ? { set: set(number) }
      : refused(
          `${key} must be a ${isWhole ? "whole " : ""}number from ${range.least} to ${range.most}, not ${show(value)}.`,
        )
  }

const size =
  (set: (bytes: number) => Settings, least: number): Reader =>
  (key, value) => {
    const bytes = typeof value === "string" || typeof value === "number" ? parseBytes(String(value)) : null
    if (bytes === null) return refused(`${key} must be a size such as 512MB or 2GiB, not ${show(value)}.`)
    return bytes < least ? refused(`${key} must be at least ${least} bytes, not ${show(value)}.`) : { set: set(bytes) }
  }

const memoryLimit = size((memory_limit_bytes) => ({ memory_limit_bytes }), 1)
/** Below this, the footer of a Parquet file outweighs its rows. */
const targetFileSize = size((target_file_size_bytes) => ({ target_file_size_bytes }), 64 * 1024)

const mergeStrategy: Reader = (key, value) => {
  const strategy = MergeStrategy.literals.find((candidate) => candidate === value)
  if (strategy !== undefined) return { set: { merge_strategy: strategy } }
  const hint = typeof value === "string" ? didYouMean(value, supportedStrategies) : ""
  return refused(`${key} ${show(value)} does not exist.${hint} Use ${supportedStrategies.join(" or ")}.`)
}

const materialized: Reader = (key, value) => {
  if (value === "table") return { set: { materialized: "table" } }
  return value === "view" || value === "incremental" || value === "ephemeral"
    ? notAvailable(`${key}: ${value} is not available yet: every pipeline makes a table. Remove the key or use table.`)
    : refused(`${key} must be table, not ${show(value)}.`)
}

/** A list of which each item is parsed by itself. */
const list =
  <A>(
    item: (key: string, value: unknown) => { readonly value: A } | { readonly problem: string },
    set: (values: ReadonlyArray<A>) => Settings,
  ): Reader =>
  (key, value) => {
    if (value === null) return refused(`${key} is empty. Name a column, or write [] for none.`)
    const values: Array<A> = []
    for (const part of listItems(value)) {
      const parsed = item(key, part)
      if ("problem" in parsed) return refused(parsed.problem)
      values.push(parsed.value)
    }
    return { set: set(values) }
  }

const decodePolicy = Schema.decodeUnknownResult(MaintenancePolicyPart)

const maintenance: Reader = (key, value) => {
  const mapping = mappingOf(value)
  if (mapping === null) return refused(`${key} must be lines of \`key: value\`, not ${show(value)}.`)
  const strange = Object.keys(mapping).find((name) => !(maintenancePolicyKeys as ReadonlyArray<string>).includes(name))
  if (strange !== undefined) {
    return refused(
      `${key}: unknown key "${strange}".${didYouMean(strange, maintenancePolicyKeys)} There are: ${maintenancePolicyKeys.join(", ")}.`,
    )
  }
  for (const [name, given] of Object.entries(mapping)) {
    const part = decodePolicy({ [name]: given })
    if (Result.isFailure(part)) {
      const reason = part.failure.message.split("\n")[0]!.replace(/\.$/, "")
      return refused(`${key}: ${name} cannot be ${show(given)}: ${reason}.`)
    }
  }
  return { set: { maintenance: Result.getOrThrow(decodePolicy(mapping)) } }
}

/** The settings that something reads. */
const known: { readonly [Key in string]: Reader } = {
  description: text((description) => ({ description }), 5_000),
  materialized,
  merge_strategy: mergeStrategy,
  unique_key: columnList((unique_key) => ({ unique_key })),
  watermark_column: text((watermark_column) => ({ watermark_column }), nameLimit),
  partition_column: text((partition_column) => ({ partition_column }), nameLimit),
  partition_by: list(partitionBy, (partition_by) => ({ partition_by })),
  sort_by: list(sortBy, (sort_by) => ({ sort_by })),
  dedup: flag((dedup) => ({ dedup })),
  scd_valid_from: text((scd_valid_from) => ({ scd_valid_from }), nameLimit),
  scd_valid_to: text((scd_valid_to) => ({ scd_valid_to }), nameLimit),
  scd_close_missing: flag((scd_close_missing) => ({ scd_close_missing })),
  on_schema_change: oneOf(OnSchemaChange.literals, (on_schema_change) => ({ on_schema_change })),
  allow_destructive_changes: flag((allow_destructive_changes) => ({ allow_destructive_changes })),
  renamed_columns: renamedColumns,
  column_defaults: columnDefaults,
  columns,
  format_version: oneOf(FormatVersion.literals, (format_version) => ({ format_version })),
  target_file_size: targetFileSize,
  target_file_size_bytes: targetFileSize,
  maintenance,
  memory_limit: memoryLimit,
  memory_limit_bytes: memoryLimit,
  timeout_seconds: (key, value) => {
    const seconds = positiveInteger(value)
    return seconds === null
      ? refused(`${key} must be a whole number of seconds above 0, not ${show(value)}.`)
      : { set: { timeout_seconds: seconds } }
  },
  priority: numberIn(priorityRange, true, (priority) => ({ priority })),
  concurrency_key: (key, value) =>
    typeof value === "string" && namePattern.test(value)
      ? { set: { concurrency_key: value } }
      : refused(
          `${key} must start with a lower-case letter and hold at most 128 lower-case letters, digits, '_' and '-', not ${show(value)}.`,
        ),
  concurrency_limit: numberIn({ least: 1, most: maxConcurrencyLimit }, true, (concurrency_limit) => ({
    concurrency_limit,
  })),
  max_retries: numberIn(retryRanges.max_retries, true, (max_retries) => ({ max_retries })),
  retry_delay_seconds: numberIn(retryRanges.retry_delay_seconds, false, (retry_delay_seconds) => ({
    retry_delay_seconds,
  })),
  retry_multiplier: numberIn(retryRanges.retry_multiplier, false, (retry_multiplier) => ({ retry_multiplier })),
  retry_max_delay_seconds: numberIn(retryRanges.retry_max_delay_seconds, false, (retry_max_delay_seconds) => ({
    retry_max_delay_seconds,
  })),
  retry_jitter: numberIn(retryRanges.retry_jitter, false, (retry_jitter) => ({ retry_jitter })),
}

/** Settings that the ancestor had and that nothing reads here yet: accepting them in silence would be a lie. */
const unread: { readonly [Key in string]: string } = {
  archive_landing_zones: "Files stay in their landing zone after a run; moving them is not available yet",
  vars: "Give values to a run (`rat run --param name=value`) and read them with param('name')",
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
