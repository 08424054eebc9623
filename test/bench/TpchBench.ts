/**
 * The 22 queries of TPC-H through our planner (syntax tree, predicates, plan, relation) against DuckDB alone on the same Parquet
 * files, in one DuckDB, side by side. Data and queries come from DuckDB's own `tpch` extension, whose binary is on PyPI; it is
 * installed into `.cache/tpch`. `--sf 10` for another size.
 */
import { execFile } from "node:child_process"
import { existsSync } from "node:fs"
import { mkdir, mkdtemp, rm } from "node:fs/promises"
import { availableParallelism, tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { DuckDBInstance } from "@duckdb/node-api"
import {
  type CopyRow,
  FileStore,
  IcebergTable,
  ObjectStore,
  ScanPlanner,
  type Schema,
  sqlPredicates,
  writtenFiles,
} from "@rat/lakehouse"
import { Effect, Layer, References } from "effect"
import { type Bench, type BenchResult, median } from "./Bench.ts"

const extensionVersion = "1.5.5"
const cache = fileURLToPath(new URL("../../.cache/tpch", import.meta.url))
const extension = join(cache, `duckdb_extension_tpch/extensions/v${extensionVersion}/tpch.duckdb_extension`)
const tables = ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"]
const fileSize = "64MB"

const installExtension = async () => {
  if (existsSync(extension)) return
  await mkdir(cache, { recursive: true })
  const args = [
    "-m",
    "pip",
    "install",
    "--quiet",
    "--no-deps",
    "--target",
    cache,
    `duckdb-extension-tpch==${extensionVersion}`,
  ]
  await promisify(execFile)("python3", args).catch((error: Error) => {
    throw new Error(`DuckDB's tpch extension could not be installed with pip: ${error.message}`)
  })
}

const icebergTypes: ReadonlyArray<readonly [pattern: RegExp, type: (match: RegExpExecArray) => string]> = [
  [/^BIGINT$/, () => "long"],
  [/^INTEGER$/, () => "int"],
  [/^VARCHAR$/, () => "string"],
  [/^DATE$/, () => "date"],
  [/^DECIMAL\((\d+),(\d+)\)$/, (match) => `decimal(${match[1]},${match[2]})`],
]

const icebergType = (type: string): string => {
  for (const [pattern, name] of icebergTypes) {
    const match = pattern.exec(type)
    if (match !== null) return name(match)
  }
  throw new Error(`a column has the type ${type}`)
}

export const bench: Bench = async ({ rounds, say, scale = 1 }) => {
  await installExtension()
  const folder = await mkdtemp(join(tmpdir(), "rat-bench-tpch-"))
  const threads = availableParallelism()
  const instance = await DuckDBInstance.create(":memory:", {
    threads: String(threads),
    memory_limit: "4GiB",
    temp_directory: join(folder, "spill"),
    enable_external_file_cache: "false",
  })
  const connection = await instance.connect()
  const rows = async (sql: string) => (await connection.runAndReadAll(sql)).getRowObjectsJson()
  const lakehouse = ScanPlanner.layer.pipe(
    Layer.provideMerge(IcebergTable.layer),
    Layer.provideMerge(FileStore.layer({ root: join(folder, "store") })),
  )
  try {
    await rows(`load '${extension}'`)
    say(`making the data of scale factor ${scale}`)
    await rows(`attach '${join(folder, "data.duckdb")}' as data; use data; call dbgen(sf = ${scale}); use memory`)
    const measure = Effect.gen(function* () {
      const store = yield* ObjectStore
      const iceberg = yield* IcebergTable
      const planner = yield* ScanPlanner
      const promise = <A>(run: () => Promise<A>) => Effect.promise(run)
      yield* promise(() => rows("create schema ours; create schema plain"))
      const locations = new Map<string, string>()
      for (const table of tables) {
        const described = yield* promise(() => rows(`describe data.${table}`))
        const fields = described.map((row, index) => ({
          id: index + 1,
          name: String(row.column_name),
          required: false,
          type: icebergType(String(row.column_type)),
        }))
        const schema: Schema = { schemaId: 0, fields, identifierFieldIds: [] }
        const ids = fields.map(({ id, name }) => `${name}: ${id}`).join(", ")
        const target = join(folder, `out-${table}`)
        const copied = (yield* promise(() =>
          rows(
            `copy (from data.${table}) to '${target}' (format parquet, field_ids {${ids}}, return_stats, file_size_bytes '${fileSize}')`,
          ),
        )) as ReadonlyArray<CopyRow>
        const location = store.locationOf(`bench/gold/${table}`)
        const written = writtenFiles(copied, schema, (index) => `${location}/data/${index}.parquet`)
        for (const { file, localPath } of written) yield* store.putFile(store.keyOf(file.filePath), localPath)
        const commit = yield* iceberg.commit({
          base: null,
          location,
          runId: table,
          updates: [
            { action: "add-schema", schema },
            { action: "set-current-schema", schemaId: -1 },
          ],
          snapshot: {
            operation: "append",
            added: written.map(({ file }) => ({ ...file, schemaId: 0 })),
            addedDeletes: [],
            removed: new Set(),
            removedDeletes: new Set(),
          },
        })
        locations.set(table, commit.metadataLocation)
        const paths = written.map(({ file }) => `'${fileURLToPath(file.filePath)}'`)
        yield* promise(() => rows(`create view plain.${table} as from read_parquet([${paths.join(", ")}])`))
      }
      yield* promise(() => rows("detach data"))
      const queries = yield* promise(() => rows("select query_nr, query from tpch_queries() order by query_nr"))

      const types = new Map<string, { readonly id: string; readonly columns: ReadonlyMap<string, string> }>()
      for (const [table, location] of locations) {
        const { columns } = yield* planner.outline(location)
        types.set(table, { id: table, columns: new Map(columns.map(({ name, type }) => [name.toLowerCase(), type])) })
      }
      const read = async (sql: string) => {
        const result = await connection.run(sql)
        for (let chunk = await result.fetchChunk(); chunk !== null && chunk.rowCount > 0; )
          chunk = await result.fetchChunk()
      }
      const alone = Effect.fn(function* (sql: string) {
        yield* promise(() => rows("use memory.plain"))
        const started = performance.now()
        yield* promise(() => read(sql))
        return performance.now() - started
      })
      const through = Effect.fn(function* (sql: string) {
        const started = performance.now()
        const [tree] = yield* promise(() => rows(`select json_serialize_sql($sql$${sql}$sql$) as tree`))
        const predicates = sqlPredicates(String(tree?.tree), ({ table }) => types.get(table.toLowerCase()))
        for (const [table, location] of locations) {
          if (!new RegExp(`\\b${table}\\b`).test(sql)) continue
          const plan = yield* planner.plan(location, { predicates: predicates.get(table) ?? [] })
          yield* promise(() => rows(`create or replace view memory.ours.${table} as ${plan.relation(fileURLToPath)}`))
        }
        yield* promise(() => rows("use memory.ours"))
        yield* promise(() => read(sql))
        return performance.now() - started
      })

      const results: Array<BenchResult> = []
      const ratios: Array<number> = []
      let aloneMs = 0
      let throughMs = 0
      for (const { query, query_nr: number } of queries) {
        const sql = String(query).trim().replace(/;$/, "")
        const [ours, plain]: [Array<number>, Array<number>] = [[], []]
        for (let round = -1; round < rounds; round++) {
          // Taking turns in who goes first, so that neither always finds the other's pages warm.
          const first = round % 2 === 0
          const before = first ? yield* through(sql) : yield* alone(sql)
          const after = first ? yield* alone(sql) : yield* through(sql)
          if (round < 0) continue
          ours.push(first ? before : after)
          plain.push(first ? after : before)
        }
        const ratio = median(ours.map((ms, index) => ms / plain[index]!))
        ratios.push(ratio)
        aloneMs += median(plain)
        throughMs += median(ours)
        say(
          `Q${number}: ${median(ours).toFixed(0)} ms, alone ${median(plain).toFixed(0)} ms, ratio ${ratio.toFixed(3)}`,
        )
      }
      results.push(
        { name: "tpch_ratio_to_duckdb", value: throughMs / aloneMs, unit: "ratio", bar: 1.05, better: "less" },
        { name: "tpch_ratio_of_median_query", value: median(ratios), unit: "ratio" },
        { name: "tpch_ms", value: throughMs, unit: "ms" },
        { name: "tpch_duckdb_ms", value: aloneMs, unit: "ms" },
        { name: "tpch_scale_factor", value: scale, unit: "sf" },
      )
      return results
    })
    return await Effect.runPromise(
      measure.pipe(
        Effect.provide(lakehouse),
        Effect.provideService(References.MinimumLogLevel, "Error"),
        Effect.scoped,
      ),
    )
  } finally {
    connection.closeSync()
    instance.closeSync()
    await rm(folder, { recursive: true, force: true })
  }
}
