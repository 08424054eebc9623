import { assert, layer } from "@effect/vitest"
import { RefName, runBranch } from "@rat/domain"
import { Effect } from "effect"
import { TestControl, type TestEnd, type TestPipeline } from "../claim/TestControl.ts"
import { rowsOf } from "../claim/TestRows.ts"
import { testRunner } from "../claim/TestRunner.ts"

const succeeded = (end: TestEnd) => {
  assert.ok(end._tag === "Succeeded", JSON.stringify(end))
  return end.outcome
}
const failed = (end: TestEnd) => {
  assert.ok(end._tag === "Failed", JSON.stringify(end))
  return end.failure
}

const logMaxLines = 40
const logMaxMessage = 1_000
const memoryLimitBytes = 200 * 1_048_576

// Told so often that a statement of a second shows its progress on a fast machine too.
const progressMs = 20
const settings = { slots: 2, memoryLimitBytes, qualityTimeoutSeconds: 1, logMaxLines, logMaxMessage, progressMs }

layer(testRunner({ settings }), { excludeTestServices: true })("A run", (it) => {
  it.effect("publishes the rows of its last statement", () =>
    Effect.gen(function* () {
      const control = yield* TestControl
      const end = yield* control.run({
        name: "steps",
        files: {
          "pipeline.sql": "create temp table t as select i from range(1000) r(i);\nselect i, i * 2 as j from t;",
        },
      })
      const outcome = succeeded(end)
      assert.strictEqual(outcome.rowsWritten, 1000)
      assert.deepStrictEqual(
        outcome.phases.map(({ name }) => name),
        ["branch", "resolve", "execute", "write", "commit", "test"],
      )
      assert.deepStrictEqual(yield* rowsOf("bronze.steps", "count(*), sum(j)"), [["1000", "999000"]])
    }),
  )

  it.effect("tells in its log how far a long statement is", () =>
    Effect.gen(function* () {
      const control = yield* TestControl
      const end = yield* control.run({
        name: "long",
        files: {
          "pipeline.sql":
            "create temp table t as select i from range(14000000) r(i);\nselect max(md5(md5(i::varchar))) as last from t;",
        },
      })
      succeeded(end)
      const told = control.logs(end.runId).flatMap(({ message }) => {
        const match = /^Executing: (\d+) %$/.exec(message)
        return match === null ? [] : [Number(match[1])]
      })
      assert.isAbove(told.length, 0)
      assert.deepStrictEqual(
        told,
        told.toSorted((a, b) => a - b),
      )
    }),
  )

  it.effect("reads other tables and its own", () =>
    Effect.gen(function* () {
      const control = yield* TestControl
      const up = { name: "up", files: { "pipeline.sql": "select 1 as a union all select 2" } }
      const down = {
        layer: "silver",
        name: "down",
        files: {
          "pipeline.sql":
            "select up.a, {% if this is defined %}(select count(*) from {{ this }}){% else %}0{% endif %} as before from {{ ref('bronze.up') }}",
        },
      }
      succeeded(yield* control.run(up))
      succeeded(yield* control.run(down))
      succeeded(yield* control.run(down))
      assert.deepStrictEqual(yield* rowsOf("silver.down", "a, before"), [
        [1, "2"],
        [2, "2"],
      ])
    }),
  )

  it.effect("that appends keeps what was there, and its watermark is the largest value so far", () =>
    Effect.gen(function* () {
      const control = yield* TestControl
      const pipeline = {
        name: "growing",
        files: {
          "config.yaml": "merge_strategy: append_only\nwatermark_column: n\n",
          "pipeline.sql":
            "select '{{ watermark_value }}' as seen, coalesce(try_cast('{{ watermark_value }}' as int), 0) + 1 as n, repeat('x', 100) as long",
        },
      }
      for (let run = 0; run < 3; run++) succeeded(yield* control.run(pipeline))
      assert.deepStrictEqual(yield* rowsOf("bronze.growing", "n, seen"), [
        [1, "none"],
        [2, "1"],
        [3, "2"],
      ])
    }),
  )

  it.effect("that renames and adds columns keeps old values, and its watermark goes by the old name until then", () =>
    Effect.gen(function* () {
      const control = yield* TestControl
      const run = (config: string, sql: string) =>
        control.run({
          name: "renamed",
          files: { "pipeline.sql": sql, "config.yaml": `merge_strategy: append_only\n${config}` },
        })
      succeeded(yield* run("watermark_column: n\n", "select 1 as n"))
      const renamed = "watermark_column: mark\nrenamed_columns: {n: mark}\n"
      const sql = "select {{ watermark_value }} + 1 as mark, {{ is_incremental() }} as more"
      succeeded(yield* run(renamed, sql))
      succeeded(yield* run(renamed, sql))
      assert.deepStrictEqual(yield* rowsOf("bronze.renamed", "mark, more"), [
        [1, null],
        [2, true],
        [3, true],
      ])
      const refused = failed(yield* run("on_schema_change: fail\n", "select 4 as mark, true as more, 'x' as extra"))
      assert.strictEqual(refused.code, "schema.mismatch")
      assert.match(refused.error, /column "extra" is new: on_schema_change: evolve adds it/)
    }),
  )

  it.effect("finds a watermark that statistics do not hold in the data", () =>
    Effect.gen(function* () {
      const control = yield* TestControl
      const long = "x".repeat(100)
      const pipeline = {
        name: "longmark",
        files: {
          "pipeline.sql": `-- @merge_strategy: append_only\n-- @watermark_column: mark\nselect '${long}' as mark, '{{ watermark_value }}' as seen`,
        },
      }
      for (let run = 0; run < 2; run++) succeeded(yield* control.run(pipeline))
      assert.deepStrictEqual(yield* rowsOf("bronze.longmark", "length(seen), seen"), [
        ["4", "none"],
        ["100", long],
      ])
    }),
  )

  it.effect("without rows empties the table when it replaces, and creates it", () =>
    Effect.gen(function* () {
      const control = yield* TestControl
      const of = (rows: number): TestPipeline => ({
        name: "emptied",
        files: { "pipeline.sql": `select i from range(${rows}) t(i)` },
      })
      assert.strictEqual(succeeded(yield* control.run(of(0))).rowsWritten, 0)
      assert.deepStrictEqual(yield* rowsOf("bronze.emptied", "count(*)"), [["0"]])
      succeeded(yield* control.run(of(5)))
      assert.deepStrictEqual(yield* rowsOf("bronze.emptied", "count(*)"), [["5"]])
      succeeded(yield* control.run(of(0)))
      assert.deepStrictEqual(yield* rowsOf("bronze.emptied", "count(*)"), [["0"]])
    }),
  )

  it.effect("without rows leaves the table as it is when it appends", () =>
    Effect.gen(function* () {
      const control = yield* TestControl
      const of = (rows: number): TestPipeline => ({
        name: "kept",
        files: { "pipeline.sql": `-- @merge_strategy: append_only\nselect i from range(${rows}) t(i)` },
      })
      const first = succeeded(yield* control.run(of(3)))
      const second = succeeded(yield* control.run(of(0)))
      assert.strictEqual(second.snapshotId, first.snapshotId)
      assert.deepStrictEqual(yield* rowsOf("bronze.kept", "count(*)"), [["3"]])
    }),
  )

  it.effect("reads the files of a landing zone and says which", () =>
    Effect.gen(function* () {
      const control = yield* TestControl
      yield* control.upload("people", "a.csv", "id,name\n1,Ann\n")
      yield* control.upload("people", "b.csv", "id,name\n2,Bob\n")
      const outcome = succeeded(
        yield* control.run({
          name: "people",
          files: { "pipeline.sql": "select * from read_csv('{{ landing_zone('people') }}')" },
        }),
      )
      assert.deepStrictEqual(outcome.landingFileIds, ["a.csv", "b.csv"])
      assert.deepStrictEqual(yield* rowsOf("bronze.people", "id, name"), [
        ["1", "Ann"],
        ["2", "Bob"],
      ])
    }),
  )

  it.effect("of no kind at all goes through a slot and ends", () =>
    Effect.gen(function* () {
      const control = yield* TestControl
      const runId = yield* control.submit({ name: "x", files: {} }, { kind: "noop" })
      const outcome = succeeded(yield* control.end(runId))
      assert.isNull(outcome.branch)
      assert.deepStrictEqual(
        outcome.phases.map(({ name }) => name),
        ["execute"],
      )
    }),
  )

  it.effect("tests the new data before anybody sees it", () =>
    Effect.gen(function* () {
      const control = yield* TestControl
      const of = (rows: number): TestPipeline => ({
        layer: "silver",
        name: "tested",
        files: {
          "pipeline.sql": `select i, null::int as n from range(${rows}) t(i)`,
          "tests/quality/few.sql":
            "-- @description: at most 5 rows\n-- @remediation: ask for less\n-- @tags: size\nselect * from {{ this }} where i >= 5 order by i",
          "tests/quality/nulls.sql": "-- @severity: warn\nselect * from {{ ref('silver.tested') }} where n is null",
          "tests/quality/upstream.sql": "select * from {{ ref('bronze.steps') }} where i < 0",
        },
      })
      const good = succeeded(yield* control.run(of(5)))
      assert.deepStrictEqual(
        good.quality.map(({ name, status, violations }) => [name, status, violations]),
        [
          ["few", "passed", 0],
          ["nulls", "warned", 5],
          ["upstream", "passed", 0],
        ],
      )
      const end = yield* control.run(of(100))
      const bad = failed(end)
      assert.strictEqual(bad.code, "quality.failed")
      assert.strictEqual(bad.phase, "test")
      const few = bad.quality.find(({ name }) => name === "few")!
      assert.deepStrictEqual(
        [
          few.status,
          few.violations,
          few.tags,
          few.sample_columns.map(({ name, type }) => [name, type]),
          few.sample_rows.length,
        ],
        [
          "failed",
          95,
          ["size"],
          [
            ["i", "BIGINT"],
            ["n", "INTEGER"],
          ],
          10,
        ],
      )
      assert.include(bad.error, "few: 95 violating row(s) (at most 5 rows)")
      assert.include(bad.error, "What to do: ask for less")
      // What failed is on the branch, what was good stays on main.
      assert.deepStrictEqual(yield* rowsOf("silver.tested", "count(*)"), [["5"]])
      assert.deepStrictEqual(yield* rowsOf("silver.tested", "count(*)", RefName.make(runBranch(end.runId))), [["100"]])
      const lines = control.logs(end.runId).map(({ message }) => message)
      assert.ok(
        lines.some((line) => /^Quality test 'few': fail \(95 rows, \d+ms\)$/.test(line)),
        lines.join("\n"),
      )
      assert.ok(lines.some((line) => line.startsWith("Sample violations for 'few':\n")))
    }),
  )

  it.effect("cannot influence its tests by what it leaves in the engine", () =>
    Effect.gen(function* () {
      const control = yield* TestControl
      const { quality } = failed(
        yield* control.run({
          name: "cheating",
          files: {
            "pipeline.sql":
              'create schema "default".bronze; create table "default".bronze.cheating as select 1 as a where false; create macro bad(x) as false; create temp table t as select 1; select 1 as a',
            "tests/quality/macro.sql": "select * from {{ this }} where bad(a)",
            "tests/quality/rows.sql": "select * from {{ this }} where a = 1",
            "tests/quality/temp.sql": "select * from t where false",
          },
        }),
      )
      assert.deepStrictEqual(
        quality.map(({ status, violations }) => [status, violations]),
        [
          ["error", null],
          ["failed", 1],
          ["error", null],
        ],
      )
    }),
  )

  it.effect("is kept from publishing by a test that cannot run, for each reason", () =>
    Effect.gen(function* () {
      const control = yield* TestControl
      const end = yield* control.run({
        name: "untestable",
        files: {
          "pipeline.sql": "select 1 as a",
          "tests/quality/a_column.sql": "select * from {{ this }} where nope = 1",
          "tests/quality/b_ref.sql": "select * from {{ ref('bronze.nowhere') }}",
          "tests/quality/c_template.sql": "select {{ nope }}",
          "tests/quality/d_slow.sql":
            "-- @severity: warn\nselect count(*) from range(100000000000) t(i) having count(*) < 0",
          "tests/quality/e_fine.sql": "select * from {{ this }} where a <> 1",
        },
      })
      const { code, quality } = failed(end)
      assert.strictEqual(code, "quality.failed")
      assert.deepStrictEqual(
        quality.map(({ status }) => status),
        ["error", "error", "error", "error", "passed"],
      )
      const errors = quality.map(({ error }) => error ?? "")
      assert.match(errors[0]!, /tests\/quality\/a_column\.sql:1:\d+: Binder Error: Referenced column "nope" not found/)
      assert.match(errors[1]!, /no such table on main/)
      assert.match(errors[2]!, /c_template\.sql:1:11: `nope` is not defined/)
      assert.match(errors[3]!, /did not finish within 1 s/)
    }),
  )

  const errors: ReadonlyArray<
    readonly [sentence: string, files: Readonly<Record<string, string>>, code: string, phase: string, text: RegExp]
  > = [
    [
      "settings that are wrong, all of them",
      {
        "pipeline.sql": "-- @timeout_seconds: soon\nselect 1 as a",
        "config.yaml": "max_retries: a\nmerge_stategy: x\n",
      },
      "config.invalid",
      "resolve",
      /config\.yaml:1:1: max_retries must be .*\n.*config\.yaml:2:1: Unknown setting.*\n.*pipeline\.sql:1:4: timeout_seconds/,
    ],
    ["a missing pipeline.sql", { "config.yaml": "" }, "pipeline.no_code", "resolve", /has no pipeline\.sql/],
    [
      "a template that does not compile",
      { "pipeline.sql": "select 1\n{% if %}" },
      "template.syntax",
      "resolve",
      /pipelines\/bronze\/broken\/pipeline\.sql:2:7: Template syntax.*\n2 \| \{% if %\}\n {10}\^/,
    ],
    [
      "a name that the template lacks",
      { "pipeline.sql": "select {{ nope }}" },
      "template.undefined",
      "resolve",
      /pipeline\.sql:1:11: `nope` is not defined/,
    ],
    [
      "a table that is not there",
      { "pipeline.sql": "select * from {{ ref('bronze.stepz') }}" },
      "ref.missing",
      "resolve",
      /ref\('bronze\.stepz'\): no such table on main\. Did you mean "bronze\.steps"\? There are: /,
    ],
    [
      "a landing zone that is not there",
      { "pipeline.sql": "select * from read_csv('{{ landing_zone('nope') }}')" },
      "zone.missing",
      "resolve",
      /no such landing zone.*rat upload --zone nope/,
    ],
    [
      "a landing zone whose name climbs out of its folder",
      { "pipeline.sql": "select * from read_csv('{{ landing_zone('../../x') }}')" },
      "zone.invalid",
      "resolve",
      /not a valid name/,
    ],
    [
      "SQL that does not parse",
      { "pipeline.sql": "-- @description: x\n{% set a = 1 %}\nselect 1 form x" },
      "sql.error",
      "execute",
      /pipelines\/bronze\/broken\/pipeline\.sql:3:15: Parser Error: syntax error.*\n3 \| select 1 form x\n {18}\^/,
    ],
    [
      "a column that is not there, in the first of two statements",
      { "pipeline.sql": "create table t as select nope from (select 1 as a);\nselect * from t" },
      "sql.error",
      "execute",
      /pipeline\.sql:1:26: Binder Error: Referenced column "nope"/,
    ],
    [
      "a column that is not there, in the last statement",
      { "pipeline.sql": "select 1;\nselect a, nope\nfrom (select 1 as a)" },
      "sql.error",
      "execute",
      /pipeline\.sql:2:11: Binder Error: Referenced column "nope"/,
    ],
    [
      "a value that does not fit, when the rows are written",
      { "pipeline.sql": "select 1 as a;\nselect\n  x::int as y from (select 'abc' || i as x from range(5) t(i))" },
      "sql.error",
      "execute",
      /pipeline\.sql:3:4: Conversion Error: Could not convert string 'abc\d'/,
    ],
    [
      "a last statement that has no rows",
      { "pipeline.sql": "create table t as select 1" },
      "sql.error",
      "execute",
      /must be a SELECT/,
    ],
    ["no statement", { "pipeline.sql": "-- nothing\n" }, "sql.error", "execute", /no SQL to execute/],
    [
      "COPY",
      { "pipeline.sql": "copy (select 1) to '/tmp/x.csv'; select 1" },
      "sql.forbidden",
      "execute",
      /pipeline\.sql:1:1: COPY/,
    ],
    [
      "a file of the machine",
      { "pipeline.sql": "select * from read_text('/etc/passwd')" },
      "sql.forbidden",
      "execute",
      /passwd/,
    ],
    [
      "a setting of the engine",
      { "pipeline.sql": "set memory_limit = '100GB'; select 1" },
      "sql.forbidden",
      "execute",
      /settings are fixed/,
    ],
    [
      "a column type that tables lack",
      { "pipeline.sql": "select interval 1 day as i" },
      "schema.mismatch",
      "execute",
      /INTERVAL.*cast it/,
    ],
    [
      "more memory than there is",
      { "pipeline.sql": "select list(i) as l, list(i::varchar || repeat('x', 100)) as m from range(100000000) t(i)" },
      "limit.memory",
      "execute",
      /more than its 200 MiB/,
    ],
    [
      "more memory than its setting",
      {
        "pipeline.sql":
          "-- @memory_limit: 60MiB\nselect list(i) as l, list(i::varchar || repeat('x', 100)) as m from range(100000000) t(i)",
      },
      "limit.memory",
      "execute",
      /more than its 60 MiB/,
    ],
    [
      "a memory limit above the server's",
      { "pipeline.sql": "-- @memory_limit: 1GiB\nselect 1 as a" },
      "config.invalid",
      "execute",
      /RAT_RUNNER_MEMORY_LIMIT/,
    ],
    [
      "its time limit",
      { "pipeline.sql": "-- @timeout_seconds: 1\nselect count(*) as c from range(100000000000) t(i)" },
      "limit.time",
      "execute",
      /stopped after 1 s/,
    ],
  ]
  for (const [sentence, files, code, phase, text] of errors) {
    it.effect(`fails with a reason and publishes nothing because of ${sentence}`, () =>
      Effect.gen(function* () {
        const control = yield* TestControl
        const end = yield* control.run({ name: "broken", files })
        const failure = failed(end)
        assert.deepStrictEqual([failure.code, failure.phase], [code, phase], failure.error)
        assert.match(failure.error, text)
        assert.notMatch(failure.error, /rat-runner-|\.ts:\d|node_modules/)
        assert.isNull(yield* rowsOf("bronze.broken", "*"))
        assert.deepStrictEqual(control.logs(end.runId).at(-1)?.message, failure.error)
      }),
    )
  }

  it.effect("says which line and column of a CSV file does not parse", () =>
    Effect.gen(function* () {
      const control = yield* TestControl
      yield* control.upload(
        "bad",
        "x.csv",
        `id,name\n${Array.from({ length: 30_000 }, (_, i) => `${i},x`).join("\n")}\nabc,y\n`,
      )
      const failure = failed(
        yield* control.run({
          name: "broken",
          files: { "pipeline.sql": "select *\nfrom read_csv('{{ landing_zone('bad') }}')" },
        }),
      )
      assert.strictEqual(failure.code, "data.csv")
      assert.match(
        failure.error,
        /^landing\/bad\/x\.csv:30002:1: the file does not parse as CSV\. .*column "id".*abc.*\n30002 \| abc,y\n/,
      )
    }),
  )

  it.effect("refuses an empty landing zone", () =>
    Effect.gen(function* () {
      const control = yield* TestControl
      yield* control.upload("void", "", "")
      const failure = failed(
        yield* control.run({
          name: "broken",
          files: { "pipeline.sql": "select * from read_csv('{{ landing_zone('void') }}')" },
        }),
      )
      assert.strictEqual(failure.code, "zone.empty")
    }),
  )

  it.effect("refuses rows that do not fit the table that they are appended to", () =>
    Effect.gen(function* () {
      const control = yield* TestControl
      const of = (sql: string): TestPipeline => ({
        name: "typed",
        files: { "pipeline.sql": `-- @merge_strategy: append_only\n${sql}` },
      })
      succeeded(yield* control.run(of("select 1 as a")))
      const failure = failed(yield* control.run(of("select 'x' as a, 2 as b")))
      assert.strictEqual(failure.code, "schema.mismatch")
      assert.deepStrictEqual(yield* rowsOf("bronze.typed", "*"), [[1]])
    }),
  )

  it.effect("has a log that ends at its limit of lines, and lines that end at theirs", () =>
    Effect.gen(function* () {
      const control = yield* TestControl
      const tests = Array.from({ length: 30 }, (_, i) => [
        `tests/quality/t${i}.sql`,
        `-- @severity: warn\n-- @description: ${"long ".repeat(300)}\nselect * from {{ this }}`,
      ])
      const end = yield* control.run({
        name: "chatty",
        files: { "pipeline.sql": "select 1 as a", ...Object.fromEntries(tests) },
      })
      succeeded(end)
      const logs = control.logs(end.runId)
      assert.strictEqual(logs.length, logMaxLines)
      assert.strictEqual(logs.at(-1)?.message, `The log ends here: it has reached its limit of ${logMaxLines} lines.`)
      assert.ok(logs.every(({ message }) => message.length <= logMaxMessage + 20))
      assert.ok(logs.some(({ message }) => message.endsWith("… (line cut)")))
      assert.deepStrictEqual(
        logs.map(({ seq }) => seq),
        logs.map((_, index) => index + 1),
      )
    }),
  )

  it.effect("starts from what main is when its table has changed meanwhile", () =>
    Effect.gen(function* () {
      const control = yield* TestControl
      const pipeline = (value: number): TestPipeline => ({
        name: "contended",
        files: {
          "pipeline.sql": `-- @merge_strategy: append_only\nselect ${value} as a {% if this is defined %}, (select count(*) from {{ this }}) as before{% else %}, 0::bigint as before{% endif %}`,
        },
      })
      succeeded(yield* control.run(pipeline(1)))
      const slow = yield* control.submit(pipeline(2))
      control.beforePublish(slow, Effect.asVoid(control.run(pipeline(3))))
      succeeded(yield* control.end(slow))
      assert.deepStrictEqual(yield* rowsOf("bronze.contended", "before, a"), [
        ["0", 1],
        ["1", 3],
        ["2", 2],
      ])
    }),
  )
})
