import type { RatClient } from "@rat/client"

/**
 * Twenty pipelines whose rows say which run wrote them, so that a table can be compared with the runs that succeeded:
 * appending and replacing, quick and slow, with inputs from each other, with a test that some runs fail.
 */
export interface ChaosPipeline {
  readonly name: string
  readonly strategy: "append_only" | "full_refresh"
  readonly sql: string
  readonly test?: string
}

const rows = (count: number, extra = "") => `select '{{ run_id }}' as run, i as id${extra} from range(${count}) t(i)`
const counting = (input: string) => `select '{{ run_id }}' as run, count(*) as n from {{ ref('silver.${input}') }}`

/** A quarter of all run ids ends with one of these. */
const unlucky = "select run from {{ this }} where run = '{{ run_id }}' and right(run, 1) in ('0', '4', '8', 'c')"

const numbered = (count: number, make: (index: number) => ChaosPipeline) =>
  Array.from({ length: count }, (_, i) => make(i))

export const chaosPipelines = [
  ...numbered(6, (i) => ({ name: `batch_${i}`, strategy: "append_only", sql: rows(i * 40 + 1) })),
  ...numbered(2, (i) => ({
    name: `slow_${i}`,
    strategy: "append_only",
    sql: rows(300_000, ", md5(md5(i::varchar)) as word"),
  })),
  ...numbered(4, (i) => ({ name: `count_${i}`, strategy: "append_only", sql: counting(`batch_${i}`) })),
  ...numbered(4, (i) => ({ name: `tested_${i}`, strategy: "append_only", sql: rows(i * 10 + 3), test: unlucky })),
  ...numbered(2, (i) => ({ name: `whole_${i}`, strategy: "full_refresh", sql: rows(i * 1000 + 5) })),
  ...numbered(2, (i) => ({ name: `sum_${i}`, strategy: "full_refresh", sql: counting(`tested_${i}`), test: unlucky })),
] as ReadonlyArray<ChaosPipeline> as readonly [ChaosPipeline, ...Array<ChaosPipeline>]

export const pushChaosProject = (client: RatClient) =>
  client.projects.push("default", {
    files: chaosPipelines.flatMap(({ name, strategy, sql, test }) => [
      { path: `pipelines/silver/${name}/pipeline.sql`, content: sql },
      { path: `pipelines/silver/${name}/config.yaml`, content: `merge_strategy: ${strategy}\n` },
      ...(test === undefined ? [] : [{ path: `pipelines/silver/${name}/tests/quality/lucky.sql`, content: test }]),
    ]),
  })
