import { DuckDBInstance } from "@duckdb/node-api"
import { assert, describe, it } from "@effect/vitest"
import fc from "fast-check"
import { sqlStatements, sqlTokens } from "./SqlTokens.ts"

const shown = (sql: string) => sqlTokens(sql).map(({ kind, value }) => (kind === "text" ? "'…'" : value))

describe("SqlTokens", () => {
  it.each<readonly [string, ReadonlyArray<string>]>([
    ["select a.b", ["select", "a", ".", "b"]],
    ['SELECT "A ""b"""', ["select", 'A "b"']],
    ["x -- c ; '\n y", ["x", "y"]],
    ["/* /* nested */ ; */ y", ["y"]],
    ["'it''s; -- no comment' z", ["'…'", "z"]],
    ["e'\\'; drop' z", ["'…'", "z"]],
    ["$$ ; ' $$ z", ["'…'", "z"]],
    ["$tag$ $$ ; $tag$ z", ["'…'", "z"]],
    ["a$b$c", ["a$b$c"]],
    ["$1", ["$", "1"]],
    ["1from", ["1", "from"]],
    ["select\u00a0glob(", ["select", "glob", "("]],
    ["glob\u3000(", ["glob", "("]],
    ["größe", ["größe"]],
    ["'open", ["'…'"]],
    ["/* open", []],
    ["--", []],
  ])("%j", (sql, tokens) => {
    assert.deepStrictEqual(shown(sql), tokens)
  })

  it("statements are cut at semicolons that are not inside of anything, and keep their place", () => {
    const sql = " select ';' ;; -- c;\n/* ; */ select $$;$$ ; "
    assert.deepStrictEqual(
      sqlStatements(sql).map(({ text, offset }) => [text, offset]),
      [
        ["select ';'", 1],
        ["select $$;$$", sql.indexOf("select $$")],
      ],
    )
  })

  it("cuts any text that the engine can parse into as many statements as the engine does", async () => {
    const connection = await (await DuckDBInstance.create(":memory:")).connect()
    const piece = fc.constantFrom(
      "select 1", "select ';'", "select e'\\';'", "select $$;$$", "select $a$;$$;$a$", ";", "; ;", "-- ;\n", "/* ; */",
      "/* /* ; */ ; */", 'select 1 as ";"', "select 'a''; b'", "select x'00'", "\n", "\u00a0", "select 1 as a$b$", "values (1)",
    ) // biome-ignore format: a list of pieces
    let parsed = 0
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 8 }), async (pieces) => {
        const sql = pieces.join(" ")
        let count: number
        try {
          count = (await connection.extractStatements(sql)).count
        } catch {
          return // no SQL at all
        }
        parsed++
        assert.strictEqual(sqlStatements(sql).length, count, sql)
      }),
      { numRuns: 500 },
    )
    assert.isAbove(parsed, 20)
  })
})
