import { assert, beforeAll, describe, it } from "@effect/vitest"
import { strategyFlags } from "./StrategyFlags.ts"
import { Template, type TemplateContext, unforeseeable } from "./Template.ts"

const context: TemplateContext = {
  namespace: "default",
  layer: "silver",
  name: "flights",
  hasTable: true,
  landingFolder: "/slot/in/landing",
  runId: "01890000-0000-7000-8000-000000000000",
  runStartedAt: "2026-01-02T03:04:05.678Z",
  logicalTime: "2026-01-01T00:00:00.000Z",
  parameters: { day: "2026-01-01", limit: 3, cities: ["Bern", "Linz"], deep: { flag: true }, none: null },
  watermarkValue: "42",
  flags: { is_full_refresh: false, is_append_only: true, is_incremental: false },
}

let template: Template
beforeAll(async () => {
  template = await Template.load()
})

describe("A template", () => {
  const good: ReadonlyArray<readonly [sentence: string, source: string, sql: string, some?: Partial<TemplateContext>]> =
    [
      ["names a table of its own namespace", "from {{ ref('bronze.raw') }}", `from "default"."bronze"."raw"`],
      ["names a table of another namespace", `{{ ref("sales.gold.day") }}`, `"sales"."gold"."day"`],
      ["names a table whose namespace is a name of the engine's", "{{ ref('temp.gold.day') }}", `"temp:"."gold"."day"`],
      ["names a table with a hyphen", "{{ ref('bronze.raw-data') }}", `"default"."bronze"."raw-data"`],
      ["names its own table", "{{ this }}", `"default"."silver"."flights"`],
      ["names a landing zone", "read_csv('{{ landing_zone('raw') }}')", "read_csv('/slot/in/landing/raw/**')"],
      [
        "knows run, time and watermark",
        "{{ run_id }} {{ run_started_at }} {{ watermark_value }}",
        `${context.runId} ${context.runStartedAt} 42`,
      ],
      ["knows its strategy", "{{ is_append_only() }} {{ is_incremental() }}", "true false"],
      [
        "may read only what is new when its table is there",
        "{% if is_incremental() %}{{ this }}{% else %}all{% endif %}",
        `"default"."silver"."flights"`,
        { flags: strategyFlags("delete_insert") },
      ],
      [
        "reads everything on the first run",
        "{% if is_incremental() %}{{ this }}{% else %}all{% endif %}",
        "all",
        { flags: strategyFlags("incremental"), hasTable: false },
      ],
      [
        "reads everything where absent rows mean something",
        "{{ is_incremental() }} {{ is_soft_delete() }} {{ is_scd2() }}",
        "false true false",
        { flags: strategyFlags("soft_delete") },
      ],
      [
        "knows its strategy on the first run too",
        "{{ is_scd2() }} {{ is_incremental() }}",
        "true false",
        { flags: strategyFlags("scd2"), hasTable: false },
      ],
      [
        "branches on the watermark",
        "{% if is_append_only() and watermark_value %}a{% else %}b{% endif %}",
        "b",
        { watermarkValue: null },
      ],
      [
        "reads what its run was given",
        "{{ param('day') }} {{ param('limit') + 1 }} {% for city in param('cities') %}{{ city }};{% endfor %} {{ param('deep').flag }}",
        "2026-01-01 4 Bern;Linz; true",
      ],
      [
        "has values for what its run was not given",
        "{{ param('hour', 7) }} {{ param('day', 'x') }} {{ param('none', 1) is none }} {{ param('no', none) is none }}",
        "7 2026-01-01 true true",
      ],
      ["knows the moment that its run is about", "{{ logical_time[:10] }}", "2026-01-01"],
      [
        "makes a parameter up while nobody knows it",
        "where d = '{{ param('day') }}' limit {{ param('limit') }}",
        "where d = '0' limit 0",
        { parameters: null },
      ],
      ["branches on its own table", "{% if this is defined %}a{% else %}b{% endif %}", "b", { hasTable: false }],
      [
        "has loops, sets, filters and macros",
        "{% set xs = ['a','b'] %}{% for x in xs %}{{ x|upper }}{{ ', ' if not loop.last }}{% endfor %}",
        "A, B",
      ],
      ["does not escape", "{{ '<a>' }}", "<a>"],
      ["leaves comments of SQL alone", "-- @description: x\nselect 1 /* y */", "-- @description: x\nselect 1 /* y */"],
    ]
  for (const [sentence, source, sql, some] of good) {
    it(sentence, async () => {
      const result = await template.render(source, { ...context, ...some })
      assert.strictEqual(result._tag === "Rendered" ? result.sql : JSON.stringify(result), sql)
    })
  }

  it("tells what it read, each once", async () => {
    const result = await template.render(
      "{{ ref('bronze.b') }} {{ ref('bronze.a') }} {{ ref('bronze.b') }} {{ landing_zone('z') }} {{ this }}",
      context,
    )
    assert.ok(result._tag === "Rendered")
    assert.deepStrictEqual([result.refs, result.zones, result.usesThis], [["bronze.b", "bronze.a"], ["z"], true])
  })

  const bad: ReadonlyArray<
    readonly [
      sentence: string,
      source: string,
      code: string,
      place: readonly [number | undefined, number | undefined],
      text: RegExp,
    ]
  > = [
    ["an unclosed block", "select 1\n{% if x %}\n", "template.syntax", [2, 9], /unexpected end of input/],
    ["an expression cut short", "select\n  {{ x + }}", "template.syntax", [2, 10], /variable block/],
    ["an unknown tag", "{% bar %}", "template.syntax", [1, 4], /unknown statement bar/],
    [
      "an unknown name",
      "a\n b {{ nope }}",
      "template.undefined",
      [2, 7],
      /`nope` is not defined\. Defined are: run_id/,
    ],
    ["a name that is nearly one", "{{ runid }}", "template.undefined", [1, 4], /Did you mean "run_id"\?/],
    ["an unknown function", "{{ reff('a.b') }}", "template.undefined", [1, 4], /Did you mean "ref"\?/],
    ["an unknown filter", "{{ 'a'|bar }}", "template.error", [1, 8], /filter bar is unknown/],
    ["source() of dbt", "select\n {{ source('a', 'b') }}", "template.unsupported", [2, 5], /landing_zone\('zone'\)/],
    ["config() of dbt", "{{ config(materialized='table') }}", "template.unsupported", [1, 4], /annotations/],
    ["var() of dbt", "{{ var('x', 'y') }}", "template.unsupported", [1, 4], /param\('name'\)/],
    [
      "a parameter that is not there",
      "a\n{{ param('hour') }}",
      "param.missing",
      [2, 4],
      /has day, limit, .*--param hour=/,
    ],
    ["a parameter with a typo", "{{ param('dya') }}", "param.missing", [1, 4], /Did you mean "day"\?/],
    ["a parameter of an object", "{{ param('toString') }}", "param.missing", [1, 4], /no parameter "toString"/],
    ["param() of nothing", "{{ param() }}", "param.invalid", [1, 4], /must name a parameter/],
    ["env_var() of dbt", "{{ env_var('HOME') }}", "template.unsupported", [1, 4], /not readable/],
    ["ref() of one part", "a\n{{ ref('raw') }}", "ref.invalid", [2, 4], /'layer\.name'/],
    ["ref() of four parts", "{{ ref('a.b.c.d') }}", "ref.invalid", [1, 4], /'layer\.name'/],
    ["ref() of nothing", "{{ ref() }}", "ref.invalid", [1, 4], /'layer\.name'/],
    ["ref() of a number", "{{ ref(1) }}", "ref.invalid", [1, 4], /'layer\.name'/],
    ["landing_zone() of nothing", "{{ landing_zone() }}", "zone.invalid", [1, 4], /landing zone/],
    ["an include", "{% include 'a' %}", "template.error", [1, 4], /non-existing template/],
    [
      "a loop without end",
      "{% for i in range(9999) %}{% for j in range(9999) %}x{% endfor %}{% endfor %}",
      "template.limit",
      [1, undefined],
      /steps or memory/,
    ],
    ["endless recursion", "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "template.error", [1, 19], /recursion/],
    ["more memory than there is", "{{ 'x' * 500000000 }}", "template.limit", [undefined, undefined], /steps or memory/],
    ["what hangs on objects", "{{ ref.constructor }}", "template.undefined", [1, 4], /not defined/],
  ]
  for (const [sentence, source, code, [line, column], text] of bad) {
    it(`is refused with its place for ${sentence}`, async () => {
      const result = await template.render(source, context)
      assert.ok(result._tag === "Problem", JSON.stringify(result))
      assert.strictEqual(result.problem.code, code)
      assert.deepStrictEqual([result.problem.line, result.problem.column], [line, column])
      assert.match(result.problem.message, text)
    })
  }

  it("that cannot do with a made-up parameter is not wrong because of it", async () => {
    const source = "{{ param('day') - 1 }} {{ param('day').year }} {{ param('x')|fromjson }}"
    const unknown = await template.render(source, { ...context, parameters: null })
    assert.deepStrictEqual(unknown, { _tag: "Problem", problem: unforeseeable })
  })

  it("says how to live without its table on the first run", async () => {
    const result = await template.render("select * from {{ this }}", { ...context, hasTable: false })
    assert.ok(result._tag === "Problem")
    assert.match(result.problem.message, /\{% if this is defined %\}/)
  })

  it("works again after one that exhausted the engine's memory", async () => {
    await template.render("{{ 'x' * 500000000 }}", context)
    const result = await template.render("{{ 1 + 1 }}", context)
    assert.strictEqual(result._tag === "Rendered" && result.sql, "2")
  })

  it("can be checked without running it", async () => {
    assert.isNull(await template.check("{{ anything() }} {% if x %}{% endif %}"))
    assert.strictEqual((await template.check("{% if x %}"))?.code, "template.syntax")
  })
})

describe("A place in rendered SQL", () => {
  /** The place of `needle`'s first character in the SQL, found again in the template. */
  const cases: ReadonlyArray<
    readonly [sentence: string, source: string, needle: string, line: number, column: number]
  > = [
    ["is the same without tags", "select a,\n  nope\nfrom t", "nope", 2, 3],
    ["is found behind a tag on the same line", "select * from {{ ref('bronze.a') }} where nope", "nope", 1, 43],
    [
      "is found behind lines that a tag took away",
      "{% if true %}\n{% set a = 1 %}\nselect\n nope\n{% endif %}",
      "nope",
      4,
      2,
    ],
    ["is found with white space control", "select a\n{%- if true %}\n  , nope\n{%- endif %}\nfrom t", "nope", 3, 5],
    ["is the tag's when the tag made it", "select *\nfrom {{ ref('bronze.a') }}", `"default"`, 2, 6],
    ["is found inside a loop", "select {% for x in [1, 2] %}\n nope_{{ x }},{% endfor %} 1", "nope_2", 2, 2],
    ["is found in a raw block", "{% raw %}select '{{ x }}', nope{% endraw %}", "nope", 1, 28],
    ["is found behind a comment", "{# a\n b #} select\n nope", "nope", 3, 2],
    ["is found behind other alphabets", "select 'äöü', {{ 1 }}, nope", "nope", 1, 24],
  ]
  for (const [sentence, source, needle, line, column] of cases) {
    it(sentence, async () => {
      const result = await template.render(source, context)
      assert.ok(result._tag === "Rendered", JSON.stringify(result))
      const place = await template.locate(source, context, result.sql.indexOf(needle))
      assert.deepStrictEqual(place, { line, column })
    })
  }

  it("is that of the word when a filter has changed the text", async () => {
    const source = "{% filter upper %}select nope{% endfilter %}"
    assert.deepStrictEqual(await template.locate(source, context, 7), { line: 1, column: 26 })
  })

  it("is not guessed when marks change what the template does", async () => {
    const source = "{% set a %}select{% endset %}{% if a|length == 6 %}select nope{% endif %}"
    assert.isNull(await template.locate(source, context, 7))
  })
})
