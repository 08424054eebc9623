import { execFile } from "node:child_process"
import { open, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { type DuckDBConnection, DuckDBInstance } from "@duckdb/node-api"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { icebergRead } from "icebird"
import { freePort, type RatProcess, startRat } from "../support/RatProcess.ts"
import { pyIceberg, runScript } from "./Install.ts"

/*
 * Every table of the demo, read from its metadata file by readers that share no code with ours, has the rows that the
 * platform answers with.
 */

const root = fileURLToPath(new URL("../..", import.meta.url))
const run = promisify(execFile)
const python = await pyIceberg()

/** icebird makes an object of every row: of the large tables it reads the beginning, the middle and the end. */
const windowRows = 50_000

/** Row ranges to read, end exclusive; the whole table when it is small. */
const windowsOf = (rows: number): ReadonlyArray<readonly [number, number]> =>
  rows <= 3 * windowRows
    ? [[0, rows]]
    : [0, Math.floor((rows - windowRows) / 2), rows - windowRows].map((start) => [start, start + windowRows])

interface Table {
  readonly layer: string
  readonly name: string
  readonly row_count: number
  readonly metadata_location: string
}

const pathOf = (location: string) => fileURLToPath(location)

/** icebird fetches by URL, and Node's fetch refuses `file:`, so those are answered from the disk, ranges included. */
const fetchFiles = () => {
  const original = globalThis.fetch
  globalThis.fetch = async (input, init) => {
    const url = String(input)
    if (!url.startsWith("file:")) return original(input, init)
    const range = /^bytes=(\d+)-(\d*)$/.exec(new Headers(init?.headers).get("range") ?? "")
    if (range === null) return new Response(await readFile(pathOf(url)))
    const file = await open(pathOf(url))
    try {
      const from = Number(range[1])
      const to = range[2] === "" ? (await file.stat()).size - 1 : Number(range[2])
      const bytes = Buffer.alloc(to - from + 1)
      await file.read(bytes, 0, bytes.length, from)
      return new Response(bytes, { status: 206 })
    } finally {
      await file.close()
    }
  }
  return () => {
    globalThis.fetch = original
  }
}

/** Windows of the table as icebird reads it, as NDJSON; answers with how many rows that are. */
const exportByIcebird = async (table: Table, target: string) => {
  let exported = 0
  const metadata = JSON.parse(await readFile(pathOf(table.metadata_location), "utf8"))
  const file = await open(target, "w")
  try {
    for (const [rowStart, rowEnd] of windowsOf(table.row_count)) {
      const rows = await icebergRead({ tableUrl: metadata.location, metadata, rowStart, rowEnd })
      const lines = rows.map((row: Record<string, unknown>) =>
        JSON.stringify(row, (_, value: unknown) => (typeof value === "bigint" ? value.toString() : value)),
      )
      await file.write(`${lines.join("\n")}\n`)
      exported += rows.length
    }
    return exported
  } finally {
    await file.close()
  }
}

describe("the demo's tables in foreign readers", () => {
  const folder = join(tmpdir(), `rat-demo-${process.pid}`)
  let rat: RatProcess
  let tables: ReadonlyArray<Table>
  let duckdb: DuckDBConnection
  let restoreFetch: () => void

  beforeAll(async () => {
    duckdb = await (await DuckDBInstance.create(":memory:")).connect()
    const port = await freePort()
    rat = await startRat({ data: folder, port })
    await run(`${root}node_modules/.bin/node`, [
      `${root}packages/cli/src/main.ts`,
      "demo",
      "--exit",
      "--listen",
      `127.0.0.1:${port}`,
    ])
    const listed = await fetch(`${rat.url}/api/v1/tables?limit=200`)
    tables = ((await listed.json()) as { tables: ReadonlyArray<Table> }).tables
    for (const { layer, name } of tables) {
      const answer = await fetch(`${rat.url}/api/v1/query`, {
        method: "POST",
        headers: { "content-type": "application/json", accept: "application/vnd.apache.parquet" },
        body: JSON.stringify({ sql: `select * from ${layer}.${name}` }),
      })
      assert.strictEqual(answer.status, 200)
      await writeFile(join(folder, `${layer}.${name}.parquet`), Buffer.from(await answer.arrayBuffer()))
    }
    restoreFetch = fetchFiles()
  }, 180_000)

  afterAll(async () => {
    restoreFetch?.()
    await rat?.stop()
    await rm(folder, { recursive: true, force: true })
  })

  /** Rows that only one of the two relations has, counted with their repetitions. */
  const difference = async (ours: string, theirs: string) => {
    const reader = await duckdb.runAndReadAll(
      `select (select count(*) from (${ours} except all ${theirs})), (select count(*) from (${theirs} except all ${ours}))`,
    )
    return reader.getRows()[0]?.map(Number)
  }

  it("are five, and none is empty", () => {
    assert.sameMembers(
      tables.map(({ layer, name }) => `${layer}.${name}`),
      [
        "bronze.airports",
        "bronze.flights",
        "silver.flights",
        "gold.delays_by_airport_and_hour",
        "gold.worst_routes_by_month",
      ],
    )
    for (const table of tables) assert.isAbove(table.row_count, 0)
  })

  it("have the same rows in icebird", { timeout: 180_000 }, async () => {
    for (const table of tables) {
      const ours = join(folder, `${table.layer}.${table.name}.parquet`)
      const theirs = join(folder, `${table.layer}.${table.name}.ndjson`)
      const exported = await exportByIcebird(table, theirs)
      assert.strictEqual(exported, Math.min(table.row_count, 3 * windowRows))
      const columns = await duckdb.runAndReadAll(`describe select * from '${ours}'`)
      const casts = columns.getRowObjects().map(({ column_name: name, column_type: type }) => {
        // JSON has text for times and numbers for the rest.
        return `try_cast("${name}" as ${type}) as "${name}"`
      })
      const names = columns.getRowObjects().map(({ column_name: name }) => `${JSON.stringify(name)}: 'VARCHAR'`)
      const read = `select ${casts.join(", ")} from read_ndjson('${theirs}', columns = {${names.join(", ")}})`
      const [missing, foreign] = (await difference(`select * from '${ours}'`, read)) ?? []
      assert.deepStrictEqual(
        [missing, foreign],
        [table.row_count - exported, 0],
        `${table.layer}.${table.name} differs`,
      )
      await rm(theirs)
    }
  })

  it.skipIf("reason" in python)(
    `have the same rows in PyIceberg${"reason" in python ? ` (skipped: ${python.reason})` : ""}`,
    { timeout: 180_000 },
    async () => {
      if ("reason" in python) return
      for (const table of tables) {
        const ours = join(folder, `${table.layer}.${table.name}.parquet`)
        const theirs = join(folder, `${table.layer}.${table.name}.theirs.parquet`)
        await runScript(python.python, "pyiceberg_export.py", table.metadata_location, theirs)
        assert.deepStrictEqual(
          await difference(`select * from '${ours}'`, `select * from '${theirs}'`),
          [0, 0],
          `${table.layer}.${table.name} differs`,
        )
      }
    },
  )
})
