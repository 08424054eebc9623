import { assert, layer } from "@effect/vitest"
import { NamespaceName, ProjectFile } from "@rat/domain"
import { Effect } from "effect"
import { testCheckSlots } from "../claim/TestRunner.ts"
import { validate } from "./Project.ts"

const check = (files: Readonly<Record<string, string>>, known: ReadonlyArray<string> = []) =>
  validate({
    namespace: NamespaceName.make("default"),
    files: Object.entries(files).map(([path, content]) => new ProjectFile({ path, content })),
    known,
  }).pipe(
    Effect.map((issues) =>
      issues.map(({ path, line, column, code, message }) => ({
        at: [path, line, column].filter((part) => part !== undefined).join(":"),
        code,
        message,
      })),
    ),
  )

const raw = "pipelines/bronze/raw/pipeline.sql"
const clean = "pipelines/silver/clean/pipeline.sql"

layer(testCheckSlots, { excludeTestServices: true })("A project", (it) => {
  it.effect("without mistakes has no issues", () =>
    Effect.gen(function* () {
      const issues = yield* check(
        {
          [raw]: "-- @merge_strategy: append_only\nselect * from read_csv('{{ landing_zone('files') }}')",
          [clean]:
            "create temp table t as select * from {{ ref('bronze.raw') }};\nselect * from t {% if watermark_value %}where a > '{{ watermark_value }}'{% endif %};",
          "pipelines/silver/clean/config.yaml": "merge_strategy: full_refresh\n",
          "pipelines/silver/clean/tests/quality/no_nulls.sql":
            "-- @severity: warn\nselect * from {{ this }} where a is null",
          "pipelines/silver/clean/README.md": "about",
          "pipelines/silver/clean/pipeline.meta.yaml": "a: 1",
          "landing/files/a.csv": "a\n1",
        },
        [],
      )
      assert.deepStrictEqual(issues, [])
    }),
  )

  it.effect("may refer to what the server has already", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(
        yield* check(
          {
            [clean]:
              "select * from {{ ref('bronze.there') }}, {{ ref('other.gold.day') }}, read_csv('{{ landing_zone('z') }}')",
          },
          ["default.bronze.there", "other.gold.day", "zone:z"],
        ),
        [],
      )
    }),
  )

  it.effect("shows all of its mistakes at once, each at its place", () =>
    Effect.gen(function* () {
      const issues = yield* check({
        [raw]: "select 1 form x",
        "pipelines/bronze/raw/config.yaml": "merge_stategy: append_only\n",
        [clean]: "select *\nfrom {{ ref('bronze.rwa') }}",
        "pipelines/silver/clean/tests/quality/a.sql": "-- @severity: bad\nselect * from {{ nope }}",
        "pipelines/silver/py/pipeline.py": "result = 1",
        "pipelines/golden/x/pipeline.sql": "select 1",
      })
      assert.deepStrictEqual(
        issues.map(({ at, code }) => `${at} ${code}`),
        [
          "pipelines/bronze/raw/config.yaml:1:1 config.unknown_key",
          "pipelines/bronze/raw/pipeline.sql:1:15 sql.syntax",
          "pipelines/golden/x/pipeline.sql file.layer",
          "pipelines/silver/clean/pipeline.sql:2:9 ref.missing",
          "pipelines/silver/clean/tests/quality/a.sql:1:4 annotation.invalid_value",
          "pipelines/silver/clean/tests/quality/a.sql:2:18 template.undefined",
          "pipelines/silver/py/pipeline.py file.python",
        ],
      )
      assert.match(issues.find(({ code }) => code === "ref.missing")!.message, /Did you mean "bronze\.raw"\?/)
    }),
  )

  it.effect("is checked for what only later runs reach", () =>
    Effect.gen(function* () {
      const issues = yield* check({
        [raw]: "select 1 {% if watermark_value %} were 2 = {{ nope }}{% endif %}",
      })
      assert.deepStrictEqual(
        issues.map(({ at, code }) => `${at} ${code}`),
        [`${raw}:1:47 template.undefined`],
      )
    }),
  )

  it.effect("must not have pipelines that read each other in a circle", () =>
    Effect.gen(function* () {
      const issues = yield* check({
        "pipelines/bronze/a/pipeline.sql": "select * from {{ ref('gold.c') }}",
        "pipelines/silver/b/pipeline.sql": "select * from {{ ref('bronze.a') }}",
        "pipelines/gold/c/pipeline.sql": "select 1\nfrom {{ ref('silver.b') }}",
      })
      assert.deepStrictEqual(
        issues.map(({ at, code }) => `${at} ${code}`),
        ["pipelines/bronze/a/pipeline.sql:1:18 ref.cycle"],
      )
      assert.include(issues[0]!.message, "bronze.a → gold.c → silver.b → bronze.a")
    }),
  )

  it.effect("may have pipelines that read their own table", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(
        yield* check({
          [raw]: "select 1 as a {% if this is defined %} from {{ this }} {% endif %}",
          [clean]: "select * from {{ ref('silver.clean') }}",
        }),
        [],
      )
    }),
  )

  const single: ReadonlyArray<readonly [sentence: string, path: string, content: string, code: string, text: RegExp]> =
    [
      [
        "a setting file of another name",
        "pipelines/bronze/raw/config.yml",
        "",
        "file.name",
        /Did you mean "config\.yaml"\?/,
      ],
      [
        "code of another name",
        "pipelines/bronze/raw/pipline.sql",
        "select 1",
        "file.name",
        /Did you mean "pipeline\.sql"\?/,
      ],
      [
        "tests beside the folder of tests",
        "pipelines/bronze/raw/tests/a.sql",
        "select 1",
        "file.name",
        /tests\/quality/,
      ],
      [
        "code outside of a pipeline's folder",
        "pipelines/bronze/raw.sql",
        "select 1",
        "file.place",
        /folder of its own/,
      ],
      [
        "a pipeline's name that is none",
        "pipelines/bronze/Raw/pipeline.sql",
        "select 1",
        "file.name",
        /no valid pipeline name/,
      ],
      [
        "a landing zone that is not there",
        clean,
        "select * from read_csv('{{ landing_zone('nope') }}')",
        "zone.missing",
        /rat upload --zone nope/,
      ],
      [
        "a layer that is none in ref()",
        clean,
        "select * from {{ ref('sliver.x') }}",
        "ref.invalid",
        /Did you mean "silver"\?/,
      ],
      ["COPY", clean, "copy (select 1) to 'x'; select 1", "sql.forbidden", /COPY/],
      ["a file without SQL", clean, "-- nothing\n", "sql.syntax", /no SQL to execute/],
      ["code that is missing", "pipelines/silver/clean/config.yaml", "", "file.missing", /Write pipeline\.sql/],
    ]
  for (const [sentence, path, content, code, text] of single) {
    it.effect(`must not have ${sentence}`, () =>
      Effect.gen(function* () {
        const issues = yield* check({ [raw]: "select 1 as a", [path]: content })
        assert.deepStrictEqual(
          issues.map((issue) => issue.code),
          [code],
        )
        assert.match(issues[0]!.message, text)
      }),
    )
  }
})
