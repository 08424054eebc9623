import { fork } from "node:child_process"
import { fileURLToPath } from "node:url"

/** DuckDB without the platform, in a process of its own as a slot is: what the platform is compared against. */
export interface RawDuckDb {
  /** Runs SQL, reads every row of the result and answers with the milliseconds it took. */
  readonly time: (sql: string) => Promise<number>
  readonly close: () => void
}

export const startRawDuckDb = (options: { readonly memoryLimit: string; readonly threads: number }): RawDuckDb => {
  const child = fork(fileURLToPath(new URL("./RawDuckDbProcess.ts", import.meta.url)), [
    options.memoryLimit,
    String(options.threads),
  ])
  return {
    time: (sql) =>
      new Promise((resolve, reject) => {
        child.once("message", (answer: { ms?: number; error?: string }) =>
          answer.ms === undefined ? reject(new Error(answer.error)) : resolve(answer.ms),
        )
        child.send(sql)
      }),
    close: () => child.disconnect(),
  }
}
