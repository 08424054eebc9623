import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest"
import { freePort, type RatProcess, startRat } from "../support/RatProcess.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))

let folder: string
let server: RatProcess
const children = new Set<ChildProcess>()

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "rat-cli-"))
  server = await startRat({ data: join(folder, "data") })
}, 90_000)

afterEach(() => {
  for (const child of children) child.kill("SIGKILL")
  children.clear()
})

afterAll(async () => {
  await server?.stop()
  rmSync(folder, { recursive: true, force: true })
}, 60_000)

interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

interface Started {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
  /** Everything printed so far, both streams. */
  readonly printed: () => string
}

/** The command as a process, against the server of this suite unless `env` or `--url` say otherwise. */
const start = (
  args: ReadonlyArray<string>,
  options: { cwd?: string; env?: Record<string, string>; input?: string } = {},
): Started => {
  const { RAT_NAMESPACE: _, ...inherited } = process.env
  const child = spawn(join(root, "node_modules/.bin/node"), [join(root, "packages/cli/src/main.ts"), ...args], {
    cwd: options.cwd ?? folder,
    env: { ...inherited, RAT_URL: server.url, ...options.env },
    stdio: ["pipe", "pipe", "pipe"],
  })
  children.add(child)
  let stdout = ""
  let stderr = ""
  let printed = ""
  child.stdout!.on("data", (chunk) => {
    stdout += chunk
    printed += chunk
  })
  child.stderr!.on("data", (chunk) => {
    stderr += chunk
    printed += chunk
  })
  child.stdin!.end(options.input ?? "")
  const ended = new Promise<Ended>((resolve) =>
    child.on("close", (code) => {
      children.delete(child)
      resolve({ code, stdout, stderr })
    }),
  )
  return { child, ended, printed: () => printed }
}

const rat = (args: ReadonlyArray<string>, options: Parameters<typeof start>[1] = {}) => start(args, options).ended

/** Waits until the process has printed `text`; fails with all of it when it ends before. */
const until = async (started: Started, text: string | RegExp) => {
  let result: Ended | undefined
  void started.ended.then((ended) => {
    result = ended
  })
  const deadline = Date.now() + 60_000
  while (!(typeof text === "string" ? started.printed().includes(text) : text.test(started.printed()))) {
    if (result !== undefined || Date.now() > deadline) {
      throw new Error(`"${text}" never came (exit code ${result?.code}):\n${started.printed()}`)
    }
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
}

/** A project of its own folder and namespace. */
const project = (namespace: string, files: Readonly<Record<string, string>>) => {
  const at = join(folder, namespace)
  const all = { "rat.yaml": `name: ${namespace}\nnamespace: ${namespace}\n`, ...files }
  for (const [path, content] of Object.entries(all)) {
    mkdirSync(dirname(join(at, path)), { recursive: true })
    writeFileSync(join(at, path), content)
  }
  return at
}

/** Runs long enough to be looked at and stopped. */
const slowSql = "select count(*) as n from range(100000000000) as r(i) where i % 7 = 3\n"

describe("a command line", () => {
  it("that is wrong ends with 2, says what is wrong and where help is, all on stderr", async () => {
    const cases: ReadonlyArray<readonly [ReadonlyArray<string>, string]> = [
      [["rum"], "Did you mean this?"],
      [["query"], "Missing required argument: sql"],
      [["run", "--detatch"], "--detach"],
      [["runs", "--limit", "0"], "not between 1 and 200"],
      [["status", "--timeout", "soon"], "Write it as 30s"],
      [["run"], "rat run --all"],
      [["run", "silver"], "layer.name"],
      [["run", "sliver.orders"], `Did you mean "silver.orders"?`],
      [["status", "--url", "nonsense"], "RAT_URL"],
      [["query", " "], "no SQL"],
      [["tables", "-n", "Not Good"], "not a namespace"],
    ]
    const results = await Promise.all(cases.map(([args]) => rat(args)))
    for (const [index, [args, text]] of cases.entries()) {
      expect({ args, code: results[index]!.code, stdout: results[index]!.stdout }).toEqual({
        args,
        code: 2,
        stdout: "",
      })
      expect(results[index]!.stderr).toContain(text)
    }
  }, 60_000)

  it("that asks for help or the version gets it on stdout and ends with 0", async () => {
    const { version } = JSON.parse(readFileSync(join(root, "packages/cli/package.json"), "utf8"))
    for (const args of [["version"], ["--version"], ["-V"]]) {
      expect(await rat(args)).toEqual({ code: 0, stdout: `${version}\n`, stderr: "" })
    }
    expect(JSON.parse((await rat(["version", "--json"])).stdout)).toMatchObject({ version: 1, rat: version })
    const [plain, byFlag, byWord] = await Promise.all([rat([]), rat(["run", "--help"]), rat(["help", "run"])])
    expect(plain).toMatchObject({ code: 0, stderr: "" })
    expect(plain.stdout).toContain("doctor")
    expect(byFlag).toMatchObject({ code: 0, stderr: "" })
    expect(byWord).toEqual(byFlag)
    expect(byWord.stdout).toContain("rat run --all")
  }, 60_000)

  it("prints completion scripts that the shell accepts", async () => {
    const script = await rat(["completion", "bash"])
    expect(script.code).toBe(0)
    expect(script.stdout).toContain("doctor")
    const check = spawnSync("bash", ["-n"], { input: script.stdout, encoding: "utf8" })
    expect(check.stderr).toBe("")
    for (const shell of ["zsh", "fish"]) expect((await rat(["completion", shell])).stdout).toContain("doctor")
  }, 30_000)
})

describe("without a server", () => {
  it("commands end with 6 and say how to start one", async () => {
    const url = `http://127.0.0.1:${await freePort()}`
    const results = await Promise.all([
      rat(["status", "--url", url]),
      rat(["query", "select 1"], { env: { RAT_URL: url } }),
      rat(["run", "silver.orders", "--url", url]),
    ])
    for (const { code, stdout, stderr } of results) {
      expect({ code, stdout }).toEqual({ code: 6, stdout: "" })
      expect(stderr).toContain(`${url} cannot be reached`)
      expect(stderr.trimEnd().split("\n").at(-1)).toContain("rat up")
    }
  }, 30_000)

  it("doctor finds what would keep one from starting", async () => {
    const port = await freePort()
    const good = await rat(["doctor", "--json", "--url", `http://127.0.0.1:${port}`], { cwd: folder })
    expect(good.code).toBe(0)
    const checks = JSON.parse(good.stdout)
    expect(checks.version).toBe(1)
    expect(checks.checks.map((check: { name: string }) => check.name)).toEqual(
      expect.arrayContaining(["node", "data folder", "disk", "postgres", "object store", "port", "server"]),
    )
    const bad = await rat(["doctor", "--url", `http://127.0.0.1:${port}`], {
      env: { DATABASE_URL: `postgres://u:p@127.0.0.1:${port}/x` },
    })
    expect(bad.code).toBe(1)
    expect(bad.stdout).toContain("does not answer")
    expect(bad.stderr).toContain("postgres")
  }, 30_000)
})

describe("a server that runs", () => {
  it("is shown by status and doctor", async () => {
    const status = await rat(["status", "--json"])
    expect(status).toMatchObject({ code: 0, stderr: "" })
    expect(JSON.parse(status.stdout)).toMatchObject({ version: 1, url: server.url, ready: { status: "ready" } })
    const doctor = await rat(["doctor", "--data", join(folder, "data")])
    expect(doctor.code, doctor.stdout).toBe(0)
    expect(doctor.stdout).toContain("server: ")
  }, 30_000)

  it("keeps a second one from the same port and from the same folder, each with a sentence", async () => {
    const port = new URL(server.url).port
    const samePort = await rat(["up", "--data", join(folder, "other"), "--listen", `127.0.0.1:${port}`])
    const sameFolder = await rat(["up", "--data", join(folder, "data"), "--listen", "127.0.0.1:0"])
    for (const { code, stderr } of [samePort, sameFolder]) {
      expect(code, stderr).toBe(5)
      expect(stderr).not.toMatch(/\n\s+at /)
    }
    expect(samePort.stderr).toContain("--listen")
    expect(sameFolder.stderr).toContain(join(folder, "data"))
  }, 60_000)
})

describe("a project", () => {
  it("goes from init to a published table that can be queried, and says what it did", async () => {
    const made = await rat(["init", "coffee", "-n", "coffee"])
    expect(made.code, made.stderr).toBe(0)
    const cwd = join(folder, "coffee")
    const again = await rat(["init", "coffee"])
    expect(again).toMatchObject({ code: 5, stdout: "" })

    const dry = await rat(["push", "--dry-run", "--json"], { cwd })
    expect(JSON.parse(dry.stdout)).toMatchObject({ version: 1, issues: [], pushed: { dry_run: true } })
    const pushed = await rat(["push"], { cwd })
    expect(pushed.code, pushed.stderr).toBe(0)
    expect(pushed.stdout).toContain("gold.daily_revenue")
    expect((await rat(["push"], { cwd })).stdout).toContain("nothing changed")

    const ran = await rat(["run", "--all", "--json"], { cwd })
    expect(ran.code, ran.stderr).toBe(0)
    const { version, runs, skipped } = JSON.parse(ran.stdout)
    expect(version).toBe(1)
    expect(skipped).toEqual([])
    expect(runs.map((run: { pipeline: string; status: string }) => [run.pipeline, run.status])).toEqual([
      ["orders", "success"],
      ["orders", "success"],
      ["daily_revenue", "success"],
    ])
    expect(runs[1].quality).toMatchObject([{ name: "order_id_is_unique", status: "passed" }])

    const sql = "select * from gold.daily_revenue order by day"
    const json = await rat(["query", sql, "--json"], { cwd })
    expect(json.code, json.stderr).toBe(0)
    expect(JSON.parse(json.stdout)).toMatchObject({ version: 1, total_rows: 3 })
    const csv = await rat(["query", sql, "-o", "csv"], { cwd })
    expect(csv.stdout.split("\n").slice(0, 2)).toEqual(["day,orders,revenue", "2026-01-05,2,9.50"])
    const table = await rat(["query", "-"], { cwd, input: sql })
    expect(table.stdout).toContain("2026-01-06")
    expect(table.stderr).toContain("3 rows")
    expect((await rat(["query", sql, "-q"], { cwd })).stderr).toBe("")
    const plan = await rat(["query", `explain ${sql}`, "-q"], { cwd })
    expect(plan.stdout).toMatch(/^┌─+┐\n│\s+PROJECTION\s+│\n/)
    const wrong = await rat(["query", "selec 1"], { cwd })
    expect(wrong.code).toBe(1)
    expect(wrong.stderr).toMatch(/syntax error at or near "selec".*line 1, column 1/s)
    const parquet = spawnSync(
      join(root, "node_modules/.bin/node"),
      [join(root, "packages/cli/src/main.ts"), "query", sql, "-n", "coffee", "-o", "parquet", "--url", server.url],
      { encoding: "latin1" },
    )
    expect(parquet.stdout.slice(0, 4)).toBe("PAR1")

    const tables = await rat(["tables", "--json"], { cwd })
    expect(JSON.parse(tables.stdout)).toMatchObject({ version: 1, total: 3 })
    const listed = (await rat(["tables"], { cwd })).stdout
    expect(listed).toMatch(/^gold\.daily_revenue .* Revenue of each day\.$/m)
    expect(listed).toMatch(/^bronze\.orders .* Orders as they came in\.$/m)
    expect((await rat(["tables", "-o", "csv"], { cwd })).stdout).toMatch(/^table,rows,size,updated,description\n/)
    expect((await rat(["tables", "show", "gold.daily_revenue"], { cwd })).stdout).toMatch(/revenue\s+DECIMAL/)

    const list = await rat(["runs", "list", "--pipeline", "gold.daily_revenue", "-o", "json"], { cwd })
    const [run] = JSON.parse(list.stdout).runs
    expect((await rat(["runs", "show", run.id], { cwd })).stdout).toContain("phases")
    const newest = await rat(["runs", "show", "--json"], { cwd })
    expect(JSON.parse(newest.stdout).run.id).toBe(run.id)
    const logs = await rat(["logs", run.id], { cwd })
    expect(logs.code).toBe(0)
    expect(logs.stdout.trim().length).toBeGreaterThan(0)
    const followed = await rat(["logs", "-f", run.id, "--json"], { cwd })
    const events = followed.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line))
    expect(events.at(-1)).toEqual({ version: 1, event: "status", status: "success" })
  }, 120_000)

  it("with problems is not pushed: all of them come with file, line and the line itself", async () => {
    const cwd = project("broken", {
      "pipelines/silver/a/config.yaml": "merge_strategy: full_refresh\nmerge_strat: x\n",
      "pipelines/silver/a/pipeline.sql": "select 1 as a\n",
      "pipelines/silver/b/pipeline.sql": "select\n  * from {{ ref('silver.missing') }}\n",
      "pipelines/silver/c/pipeline.sql": "select {{ oops \n",
    })
    const refused = await rat(["push"], { cwd })
    expect(refused).toMatchObject({ code: 1, stdout: "" })
    expect(refused.stderr).toContain("pipelines/silver/a/config.yaml:2:1: ")
    expect(refused.stderr).toContain("    2 | merge_strat: x\n      | ^")
    expect(refused.stderr).toContain("pipelines/silver/b/pipeline.sql:2:")
    expect(refused.stderr).toContain("pipelines/silver/c/pipeline.sql:")
    expect(refused.stderr.trimEnd().split("\n").at(-1)).toContain("push again")
    const json = await rat(["push", "--json"], { cwd })
    expect(json.code).toBe(1)
    expect(JSON.parse(json.stdout).issues.length).toBeGreaterThanOrEqual(3)
    expect((await rat(["tables", "--json"], { cwd })).code).toBeGreaterThan(-1)
  }, 60_000)

  it("whose test fails ends run with 1, shows what was found, publishes nothing, and the branch can be read", async () => {
    const cwd = project("failing", {
      "pipelines/silver/a/pipeline.sql": "select i as id from range(5) as r(i)\n",
      "pipelines/silver/a/tests/quality/small.sql":
        "-- @description: Ids are below three.\n-- @remediation: Drop the large ones.\nselect id from {{ this }} where id >= 3\n",
      "pipelines/gold/b/pipeline.sql": "select * from {{ ref('silver.a') }}\n",
    })
    expect((await rat(["push"], { cwd })).code).toBe(0)
    const ran = await rat(["run", "--all"], { cwd })
    expect(ran.code).toBe(1)
    expect(ran.stdout).toContain("small: 2 rows")
    expect(ran.stdout).toContain("→ Drop the large ones.")
    expect(ran.stdout).toContain("gold.b  skipped: silver.a did not succeed")
    const last = ran.stderr.trimEnd().split("\n").at(-1)!
    expect(last).toContain("rat logs ")
    const branch = /--branch (run-[0-9a-f-]+)/.exec(last)![1]!
    const onBranch = await rat(["query", "-b", branch, "select count(*) from silver.a", "-o", "csv"], { cwd })
    expect(onBranch.stdout.split("\n")[1]).toBe("5")
    expect(JSON.parse((await rat(["tables", "--json"], { cwd })).stdout).total).toBe(0)
    const failed = await rat(["runs", "--status", "failed", "-o", "csv"], { cwd })
    expect(failed.stdout.split("\n")[0]).toBe("run,pipeline,status,created,duration,rows,trigger,error")
    expect(failed.stdout.match(/,silver\.a,failed,/g)!.length).toBe(1)
  }, 60_000)

  it("shows what a branch would change: tables, how many rows, which rows", async () => {
    const sql = (changed: string, rows: number) =>
      `-- @merge_strategy: incremental\n-- @unique_key: id\nselect i as id, case when i = 2 then '${changed}' else 'same' end as v from range(${rows}) as r(i)\n`
    const cwd = project("diffing", { "pipelines/silver/a/pipeline.sql": sql("old", 4) })
    const at = join(cwd, "pipelines/silver/a")
    expect((await rat(["push"], { cwd })).code).toBe(0)
    expect((await rat(["run", "--all"], { cwd })).code).toBe(0)
    const published = new Date().toISOString()
    writeFileSync(join(at, "pipeline.sql"), sql("new", 6))
    mkdirSync(join(at, "tests/quality"), { recursive: true })
    writeFileSync(join(at, "tests/quality/none.sql"), "select id from {{ this }} where id = 5\n")
    expect((await rat(["push"], { cwd })).code).toBe(0)
    const failed = await rat(["run", "--all"], { cwd })
    const branch = /--branch (run-[0-9a-f-]+)/.exec(failed.stderr)![1]!

    const tables = await rat(["diff", `main..${branch}`, "-o", "csv"], { cwd })
    expect(tables.stdout.trim().split("\n")).toEqual(["table,change,rows before,rows after", "silver.a,changed,4,6"])
    const counts = await rat(["branch", "diff", branch, "--rows", "-o", "csv"], { cwd })
    expect(counts.stdout).toContain("diffing.silver.a,changed,,2,0,1")
    const range = ["diff", `main..${branch}`, "--table", "silver.a"]
    const rows = JSON.parse((await rat([...range, "--key", "ID", "--json"], { cwd })).stdout).diff
    expect(rows).toMatchObject({ rows_added: 2, rows_removed: 0, rows_changed: 1, key: ["id"] })
    expect(rows.sample.filter(({ kind }: { kind: string }) => kind === "changed")).toEqual([
      { kind: "changed", before: { id: 2, v: "old" }, after: { id: 2, v: "new" } },
    ])
    const shown = await rat([...range, "--key", "id", "--sample", "1"], { cwd })
    expect(shown.stdout).toMatch(/changed +\{"id":2,"v":"old"\} +\{"id":2,"v":"new"\}/)
    expect(shown.stderr).toContain("rows: 2 added, 0 removed, 1 changed")
    const since = await rat(["diff", `${published}..main`, "--table", "silver.a", "--json"], { cwd })
    expect(JSON.parse(since.stdout).diff).toMatchObject({ rows_added: 0, rows_removed: 0, files_read: 0 })
    const wrong = await rat([...range, "--key", "idd"], { cwd })
    expect(wrong).toMatchObject({ stdout: "" })
    expect(wrong.stderr).toContain('Did you mean "id"?')
    expect((await rat(["diff", "1..2"], { cwd })).code).toBe(2)
  }, 60_000)

  it("reads files that were uploaded to a zone which the upload made", async () => {
    const cwd = project("landed", {
      "pipelines/bronze/people/pipeline.sql": `select * from read_csv('{{ landing_zone("people") }}')\n`,
      "people.csv": "id,name\n1,Ada\n2,Grace\n",
    })
    expect((await rat(["upload", "--zone", "people", "missing.csv"], { cwd })).code).toBe(3)
    const uploaded = await rat(["upload", "--zone", "people", "people.csv", "--json"], { cwd })
    expect(uploaded.code, uploaded.stderr).toBe(0)
    expect(uploaded.stderr).toContain("Made landing zone landed/people")
    expect(JSON.parse(uploaded.stdout).files).toMatchObject([
      { filename: expect.stringMatching(/people\.csv$/), size_bytes: 22 },
    ])
    expect((await rat(["push"], { cwd })).code).toBe(0)
    expect((await rat(["run", "bronze.people"], { cwd })).code).toBe(0)
    const rows = await rat(["query", "select name from bronze.people order by id", "-o", "csv"], { cwd })
    expect(rows.stdout).toBe("name\nAda\nGrace\n")
  }, 60_000)
})

describe("what is not there", () => {
  it("ends with 3: runs, pipelines, tables", async () => {
    const results = await Promise.all([
      rat(["runs", "show", "01920000-0000-7000-8000-000000000001"]),
      rat(["logs", "01920000-0000-7000-8000-000000000001"]),
      rat(["cancel", "01920000-0000-7000-8000-000000000001"]),
      rat(["run", "silver.nothing_like_it"]),
      rat(["tables", "show", "gold.nothing_like_it"]),
      rat(["logs", "-n", "nobody"]),
    ])
    for (const { code, stdout, stderr } of results) {
      expect({ code, stdout }, stderr).toEqual({ code: 3, stdout: "" })
      expect(stderr).toMatch(/^rat: /)
    }
  }, 60_000)

  it("SQL that is wrong ends with 1 and the engine's own words; SQL that writes ends with 4", async () => {
    const wrong = await rat(["query", "select nope from (select 1 as yes)"])
    expect(wrong).toMatchObject({ code: 1, stdout: "" })
    expect(wrong.stderr).toContain('Referenced column "nope" not found')
    expect(await rat(["query", "create table x as select 1"])).toMatchObject({ code: 4, stdout: "" })
  }, 30_000)
})

describe("a run that takes its time", () => {
  it("goes on when Ctrl-C ends the following with 130; cancel stops it, once", async () => {
    const cwd = project("slow", { "pipelines/silver/slow/pipeline.sql": slowSql })
    expect((await rat(["push"], { cwd })).code).toBe(0)
    const following = start(["run", "silver.slow"], { cwd })
    await until(following, /run [0-9a-f-]{36}/)
    following.child.kill("SIGINT")
    const { code, stderr } = await following.ended
    expect(code).toBe(130)
    const runId = /rat cancel ([0-9a-f-]{36})/.exec(stderr)![1]!
    const { run } = JSON.parse((await rat(["runs", "show", runId, "--json"], { cwd })).stdout)
    expect(["pending", "running"]).toContain(run.status)

    const late = await rat(["run", "silver.slow", "--timeout", "300ms"], { cwd })
    expect(late.code).toBe(6)
    const second = /rat cancel ([0-9a-f-]{36})/.exec(late.stderr)![1]!
    const cancelled = await rat(["cancel", second, runId], { cwd })
    expect(cancelled.code, cancelled.stderr).toBe(0)
    expect(cancelled.stdout).toContain(`${runId} cancelled`)
    expect(await rat(["cancel", runId], { cwd })).toMatchObject({ code: 5, stdout: "" })

    const detached = await rat(["run", "silver.slow", "--detach"], { cwd })
    expect(detached.stdout.trim()).toMatch(/^[0-9a-f-]{36}$/)
    expect((await rat(["cancel", detached.stdout.trim()], { cwd })).code).toBe(0)
  }, 60_000)
})

describe("rat dev", () => {
  it("runs what changed and what reads it on every save, survives a broken file, ends with 0 on Ctrl-C", async () => {
    const cwd = project("living", {
      "pipelines/bronze/a/pipeline.sql": "select 1 as n\n",
      "pipelines/bronze/other/pipeline.sql": "select 7 as n\n",
      "pipelines/silver/b/pipeline.sql": "select n + 1 as n from {{ ref('bronze.a') }}\n",
    })
    const dev = start(["dev"], { cwd })
    await until(dev, /silver\.b {2}success[\s\S]*Watching/)
    const before = dev.printed().length
    writeFileSync(join(cwd, "pipelines/bronze/a/pipeline.sql"), "select {{ nope }} as n\n")
    const rest = { ...dev, printed: () => dev.printed().slice(before) }
    await until(rest, "pipelines/bronze/a/pipeline.sql:1:")
    writeFileSync(join(cwd, "pipelines/bronze/a/pipeline.sql"), "select 41 as n\n")
    await until(rest, "silver.b  success")
    expect(rest.printed()).not.toContain("bronze.other")
    const answer = await rat(["query", "select n from silver.b", "-o", "csv"], { cwd })
    expect(answer.stdout).toBe("n\n42\n")
    appendFileSync(join(cwd, "rat.yaml"), "nope: 1\n")
    await until(rest, "rat.yaml:3:1")
    dev.child.kill("SIGINT")
    expect((await dev.ended).code).toBe(0)
  }, 90_000)
})

describe("rat demo", () => {
  it("loads, runs and shows real data, ends, and does it again on the same folder", async () => {
    const data = join(folder, "demo")
    const port = await freePort()
    const env = { RAT_URL: "" }
    const args = ["demo", "--data", data, "--listen", `127.0.0.1:${port}`, "--exit"]
    const first = await rat(args, { env })
    expect(first.code, first.stderr).toBe(0)
    for (const text of ["silver.flights", "2,999,806 rows", "places_are_known: 220 rows", "PHL", "serves it again"]) {
      expect(first.stdout).toContain(text)
    }
    const second = await rat(args, { env })
    expect(second.code, second.stderr).toBe(0)
    expect(second.stderr).toContain("is there already")
    expect(second.stdout).toContain("2,999,806 rows")
  }, 180_000)
})
