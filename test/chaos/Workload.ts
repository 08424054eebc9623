import { createHash } from "node:crypto"

/**
 * Pipelines whose rows say which run wrote them and how much it added, so that sums prove that every run counted once. What
 * a run adds, and whether it fails on purpose, follows from its id alone: whoever watches knows it without asking the system.
 */

interface Common {
  readonly namespace: string
  readonly name: string
  readonly files: ReadonlyArray<{ readonly path: string; readonly content: string }>
  /** How a run is meant to fail, as a part of its error; undefined: it is meant to succeed. */
  readonly failureOf: (runId: string) => string | undefined
  /** It is tried again when something that is not its fault goes wrong. */
  readonly isPatient: boolean
}

export type Pipeline = Common &
  (
    | {
        /** Each run adds `rows` rows `(run, n, amount)`: n from 0, amount `amountOf(run) + n`. */
        readonly kind: "append"
        readonly rows: number
      }
    /** Each run adds its amount to row `k = amount % counterKeys` of `(k, total, runs, run)`. */
    | { readonly kind: "counter" }
    /** Each run adds a row `(run, upload, amount)` for each file that lies in the landing zone. */
    | { readonly kind: "landing"; readonly zone: string }
    /** Each run replaces everything by a row `(run, rows, amount)` for each run in the table of another pipeline. */
    | { readonly kind: "whole"; readonly of: string }
  )

export const layer = "silver"
export const namespaces = ["default", "second"] as const
export const counterKeys = 5

/** 1 to 1000. */
export const amountOf = (runId: string): number =>
  (Number.parseInt(createHash("md5").update(runId).digest("hex").slice(0, 6), 16) % 1000) + 1
const amountSql = "(('0x' || substr(md5('{{ run_id }}'), 1, 6))::integer % 1000 + 1)"

/** A quarter of all run ids ends with one of these. */
const unlucky = ["0", "4", "8", "c"]
const isUnlucky = (runId: string) => unlucky.includes(runId.at(-1)!)
const isUnluckySql = `right('{{ run_id }}', 1) in (${unlucky.map((digit) => `'${digit}'`).join(", ")})`

const onPurpose = "failed on purpose"
const never = () => undefined

const retries = "max_retries: 50\nretry_delay_seconds: 0.2\nretry_multiplier: 1.5\nretry_max_delay_seconds: 3\n"

interface Draft {
  readonly namespace: string
  readonly name: string
  readonly sql: string
  readonly config: string
  /** SQL of a quality test. */
  readonly test?: string
  readonly isPatient?: boolean
}

const filesOf = ({ name, sql, config, test, isPatient = true }: Draft) => [
  { path: `pipelines/${layer}/${name}/pipeline.sql`, content: sql },
  { path: `pipelines/${layer}/${name}/config.yaml`, content: config + (isPatient ? retries : "") },
  ...(test === undefined ? [] : [{ path: `pipelines/${layer}/${name}/tests/quality/lucky.sql`, content: test }]),
]

/** `extra` is a condition or a column that decides nothing about the rows. */
const appendSql = (rows: number, from = "") =>
  `select '{{ run_id }}' as run, i::integer as n, (${amountSql} + i)::bigint as amount from range(${rows}) t(i)${from}`

const append = (
  draft: Omit<Draft, "sql" | "config"> & { readonly rows: number; readonly from?: string },
): Pipeline => ({
  kind: "append",
  namespace: draft.namespace,
  name: draft.name,
  rows: draft.rows,
  files: filesOf({ ...draft, sql: appendSql(draft.rows, draft.from), config: "merge_strategy: append_only\n" }),
  isPatient: draft.isPatient ?? true,
  failureOf: draft.test === undefined ? never : (id) => (isUnlucky(id) ? "lucky" : undefined),
})

/** About a second of hashing before the first row. */
const slowly = ", (select count(distinct md5(md5(i::varchar))) as words from range(400000) t(i)) where words > 0"

const counter = (namespace: string, name: string): Pipeline => ({
  kind: "counter",
  namespace,
  name,
  isPatient: true,
  failureOf: never,
  files: filesOf({
    namespace,
    name,
    config: "merge_strategy: incremental\nunique_key: k\n",
    sql: `
      with added as (select (${amountSql} % ${counterKeys})::integer as k, ${amountSql}::bigint as amount),
      before as ({% if is_incremental() %}select k, total, runs from {{ this }}{% else %}select 0 as k, 0 as total, 0 as runs where false{% endif %})
      select a.k, (coalesce(b.total, 0) + a.amount)::bigint as total, (coalesce(b.runs, 0) + 1)::integer as runs, '{{ run_id }}' as run
      from added a left join before b on b.k = a.k`,
  }),
})

const failing = (namespace: string, name: string): Pipeline => ({
  kind: "append",
  namespace,
  name,
  rows: 2,
  isPatient: true,
  failureOf: (id) => (isUnlucky(id) ? onPurpose : undefined),
  files: filesOf({
    namespace,
    name,
    config: "merge_strategy: append_only\n",
    sql: appendSql(2, ` where case when ${isUnluckySql} then error('${onPurpose}') else true end`),
  }),
})

const landing = (namespace: string, zone: string): Pipeline => ({
  kind: "landing",
  namespace,
  name: `read_${zone}`,
  zone,
  isPatient: true,
  failureOf: never,
  files: filesOf({
    namespace,
    name: `read_${zone}`,
    config: "merge_strategy: append_only\n",
    sql: `select '{{ run_id }}' as run, upload::varchar as upload, amount::bigint as amount from read_csv('{{ landing_zone('${zone}') }}')`,
  }),
})

const whole = (namespace: string, of: string): Pipeline => ({
  kind: "whole",
  namespace,
  name: `whole_${of}`,
  of,
  isPatient: true,
  failureOf: never,
  files: filesOf({
    namespace,
    name: `whole_${of}`,
    config: "merge_strategy: full_refresh\n",
    sql: `select run, count(*)::integer as rows, sum(amount)::bigint as amount from {{ ref('${layer}.${of}') }} group by run`,
  }),
})

const test = `select run from {{ this }} where run = '{{ run_id }}' and ${isUnluckySql}`

export const zones = [{ namespace: "default", name: "drops" }] as const

export const pipelines = [
  ...[1, 3, 40, 7].map((rows, index) => append({ namespace: namespaces[index % 2]!, name: `append_${index}`, rows })),
  ...[0, 1].map((index) =>
    append({ namespace: namespaces[index]!, name: `impatient_${index}`, rows: 5, isPatient: false }),
  ),
  ...[0, 1].map((index) => append({ namespace: namespaces[index]!, name: `tested_${index}`, rows: 4, test })),
  ...[0, 1].map((index) => append({ namespace: namespaces[index]!, name: `slow_${index}`, rows: 1, from: slowly })),
  ...[0, 1, 2].map((index) => counter(namespaces[index % 2]!, `counter_${index}`)),
  failing("default", "failing"),
  landing("default", "drops"),
  whole("default", "append_0"),
] as ReadonlyArray<Pipeline> as readonly [Pipeline, ...Array<Pipeline>]

export const keyOf = ({ namespace, name }: { readonly namespace: string; readonly name: string }) =>
  `${namespace}.${name}`
export const pipelineOf: ReadonlyMap<string, Pipeline> = new Map(
  pipelines.map((pipeline) => [keyOf(pipeline), pipeline]),
)
