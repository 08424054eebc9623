import { spawn } from "node:child_process"
import { join } from "node:path"
import { createInterface } from "node:readline"

/** A row as texts in one spelling for all engines; nested values as lists and objects of texts. */
export type Row = ReadonlyArray<unknown>

/** An engine of somebody else in a process of its own, connected to the Iceberg REST endpoint; one call at a time. */
export interface ForeignEngine {
  readonly name: string
  /** Makes a branch known by a name: a catalog, in the words of most engines. */
  readonly attach: (name: string, warehouse: string) => Promise<void>
  /** Rows of a table, sorted, whatever order the engine has. */
  readonly read: (
    name: string,
    namespace: ReadonlyArray<string>,
    table: string,
    columns: ReadonlyArray<string>,
    where?: string,
  ) => Promise<ReadonlyArray<Row>>
  /** Not of PyIceberg. */
  readonly sql: (sql: string) => Promise<ReadonlyArray<Row>>
  /** Of Spark alone: deletes rows by the values of columns, in equality delete files. */
  readonly equalityDelete: (
    name: string,
    namespace: ReadonlyArray<string>,
    table: string,
    columns: ReadonlyArray<string>,
    rows: ReadonlyArray<Row>,
  ) => Promise<void>
  readonly stop: () => Promise<void>
}

export const startEngine = async (
  name: "duckdb" | "spark" | "pyiceberg",
  options: { readonly python: string; readonly url: string; readonly jar?: string },
): Promise<ForeignEngine> => {
  const script = join(import.meta.dirname, "engine.py")
  const jar = options.jar === undefined ? [] : [options.jar]
  const child = spawn(options.python, [script, name, `${options.url}/iceberg`, ...jar], {
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...process.env, PYTHONWARNINGS: "ignore", SPARK_LOCAL_IP: "127.0.0.1" },
  })
  let complaints = ""
  child.stderr.on("data", (chunk: Buffer) => {
    complaints = (complaints + chunk.toString()).slice(-4000)
  })
  const waiting: Array<(line: string) => void> = []
  let hasEnded = false
  const ended = new Promise<void>((resolve) =>
    child.once("close", () => {
      hasEnded = true
      for (const answer of waiting.splice(0)) answer(JSON.stringify({ error: `${name} ended: ${complaints}` }))
      resolve()
    }),
  )
  createInterface({ input: child.stdout }).on("line", (line) => {
    // Some libraries print what they have to say among the answers.
    if (line.startsWith('{"ok"') || line.startsWith('{"error"')) waiting.shift()?.(line)
  })
  const answer = async () => {
    if (hasEnded) throw new Error(`${name} ended: ${complaints}`)
    const line = await new Promise<string>((resolve) => waiting.push(resolve))
    const { ok, error } = JSON.parse(line) as { ok?: unknown; error?: string }
    if (error !== undefined) throw new Error(`${name}: ${error}`)
    return ok
  }
  const call = (op: string, request: object) => {
    child.stdin.write(`${JSON.stringify({ op, ...request })}\n`)
    return answer()
  }
  await answer()
  return {
    name,
    attach: async (catalog, warehouse) => void (await call("attach", { name: catalog, warehouse })),
    read: (catalog, namespace, table, columns, where) =>
      call("read", { name: catalog, namespace, table, columns, where }) as Promise<ReadonlyArray<Row>>,
    sql: (sql) => call("sql", { sql }) as Promise<ReadonlyArray<Row>>,
    equalityDelete: async (catalog, namespace, table, columns, rows) =>
      void (await call("equality_delete", { name: catalog, namespace, table, columns, rows })),
    stop: async () => {
      child.stdin.end()
      const timer = setTimeout(() => child.kill("SIGKILL"), 10_000)
      await ended
      clearTimeout(timer)
    },
  }
}
