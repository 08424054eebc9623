import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert } from "@effect/vitest"
import { RatClient } from "@rat/client"
import { startRat } from "../support/RatProcess.ts"
import { type ForeignEngine, type Row, startEngine } from "./ForeignEngine.ts"
import { duckDb, pyIceberg, spark } from "./Install.ts"

/*
 * A server of ours with every engine that this machine can have beside it. DuckDB is also where the model of a table is
 * kept, so without it there is nothing to compare with.
 */

const found = { duckdb: await duckDb(), pyiceberg: await pyIceberg(), spark: await spark() }

/** Why engines are missing; null where all are there. */
export const missing: string | null =
  Object.values(found)
    .flatMap((engine) => ("reason" in engine ? [engine.reason] : []))
    .join("; ") || null

export const hasDuckDb = "python" in found.duckdb
export const hasSpark = "python" in found.spark
/** Whether everything is asked for, or what fits beside all other tests: `npm run interop` or `npm test`. */
export const isThorough = process.env.RAT_INTEROP_SPARK === "1"
/** For the title of a suite. */
export const skips = missing === null ? "" : ` (skipped: ${missing})`

/** Where pipelines of the tests put their tables. */
export const namespace = ["default", "silver"] as const

export interface Lake {
  readonly client: RatClient
  readonly duckdb: ForeignEngine
  readonly spark: ForeignEngine | null
  readonly engines: ReadonlyArray<ForeignEngine>
  /** Our rows of a query, spelled as the engines' rows are. */
  readonly ours: (sql: string, branch?: string) => Promise<ReadonlyArray<Row>>
  /**
   * Reads a table through our query API and in every engine over REST: all have the rows that the model has. `catalog` is
   * `rat` (main) or `dev` (the branch); `where` is a condition that all of them understand.
   */
  readonly compare: (what: {
    readonly table: string
    readonly columns: ReadonlyArray<string>
    readonly model: string
    readonly where?: string
    readonly catalog?: "rat" | "dev"
    readonly label: string
    readonly readers?: ReadonlyArray<ForeignEngine>
  }) => Promise<ReadonlyArray<Row>>
  readonly stop: () => Promise<void>
}

/** Name of the branch that the engines know as `dev`; a `/` in it is the hard case. */
export const devBranch = "team/interop"

export const startLake = async (): Promise<Lake> => {
  const folder = await mkdtemp(join(tmpdir(), "rat-interop-"))
  const rat = await startRat({ data: join(folder, "data"), env: { RAT_RUNNER_SLOTS: "2" } })
  const engines: Array<ForeignEngine> = []
  const stop = async () => {
    await Promise.all(engines.map((engine) => engine.stop()))
    await rat.stop()
    await rm(folder, { recursive: true, force: true })
  }
  try {
    const client = new RatClient({ apiUrl: rat.url })
    for (const name of ["duckdb", "pyiceberg", "spark"] as const) {
      const engine = found[name]
      if ("python" in engine) engines.push(await startEngine(name, { url: rat.url, ...engine }))
    }
    // The namespace comes into being with its first pipeline.
    const first = { path: "pipelines/silver/first/pipeline.sql", content: "select 1 as id" }
    await client.projects.push("default", { files: [first] })
    await client.branches.create({ name: devBranch })
    for (const engine of engines) {
      await engine.attach("rat", "main")
      await engine.attach("dev", devBranch)
    }
    const duckdb = engines.find((engine) => engine.name === "duckdb")!
    let answers = 0
    const ours: Lake["ours"] = async (sql, branch) => {
      const path = join(folder, `answer-${answers++}.parquet`)
      const query = { sql, namespace: namespace[0], ...(branch === undefined ? {} : { branch }) }
      await writeFile(path, await client.query.bytes(query, "parquet"))
      const rows = await duckdb.sql(`select * from read_parquet('${path}')`)
      await rm(path)
      return rows
    }
    const compare: Lake["compare"] = async ({
      catalog = "rat",
      columns,
      label,
      model,
      readers = engines,
      table,
      where,
    }) => {
      const condition = where === undefined ? "" : ` where ${where}`
      const expected = await duckdb.sql(`select ${columns.join(", ")} from ${model}${condition}`)
      const branch = catalog === "dev" ? devBranch : undefined
      assert.deepStrictEqual(
        await ours(`select ${columns.join(", ")} from silver.${table}${condition}`, branch),
        expected,
        `${label}: ours`,
      )
      for (const engine of readers) {
        const rows = await engine.read(catalog, namespace, table, columns, where)
        assert.deepStrictEqual(rows, expected, `${label}: ${engine.name}`)
      }
      return expected
    }
    return {
      client,
      duckdb,
      spark: engines.find((engine) => engine.name === "spark") ?? null,
      engines,
      ours,
      compare,
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}
