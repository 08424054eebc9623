import { Schema } from "effect"

/** Larger goes first within its namespace; -100 to 100, 0 when nobody says. */
export const Priority = Schema.Int.check(Schema.isBetween({ minimum: -100, maximum: 100 }))
export type Priority = typeof Priority.Type

export const priorityRange = { least: -100, most: 100 } as const

/** Most runs that may share a concurrency key at a time. */
export const maxConcurrencyLimit = 1000

/**
 * What one file of a pipeline says of how its runs queue; each key only where it is said. The code (annotations) wins over config.yaml.
 */
export const Queueing = Schema.Struct({
  priority: Schema.optionalKey(Priority),
  /** Pipelines of a namespace that share it take turns. */
  concurrency_key: Schema.optionalKey(Schema.String),
  /** A run with the key starts while fewer than so many of them are running; 1 when nobody says. */
  concurrency_limit: Schema.optionalKey(Schema.Int),
})
export type Queueing = typeof Queueing.Type
