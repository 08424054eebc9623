import { existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { emptyFolder } from "./EmptyFolder.ts"

describe("Emptying a slot's folder", () => {
  let folder = ""
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "rat-empty-"))
    mkdirSync(join(folder, "in", "data"), { recursive: true })
  })
  afterEach(() => rmSync(folder, { recursive: true, force: true }))

  it("removes everything but the standing folders, which are empty afterwards, and counts what was there", () => {
    mkdirSync(join(folder, "in", "landing", "zone"), { recursive: true })
    for (const path of ["a", "data/b", "data/c", "landing/zone/d"]) writeFileSync(join(folder, "in", path), "x")
    mkdirSync(join(folder, "in", "data", "deeper"))
    assert.strictEqual(emptyFolder(folder, "in", ["in/data", "out/result"]), 5)
    assert.deepStrictEqual(readdirSync(join(folder, "in")), ["data"])
    assert.deepStrictEqual(readdirSync(join(folder, "in", "data")), [])
    assert.isFalse(existsSync(join(folder, "out")))
    assert.strictEqual(emptyFolder(folder, "in", ["in/data"]), 0)
  })

  it("makes a standing folder anew that was removed, or that is only a link to another one, and leaves that one alone", () => {
    const elsewhere = join(folder, "elsewhere")
    mkdirSync(elsewhere)
    writeFileSync(join(elsewhere, "kept"), "x")
    rmSync(join(folder, "in", "data"), { recursive: true })
    emptyFolder(folder, "in", ["in/data"])
    assert.isTrue(lstatSync(join(folder, "in", "data")).isDirectory())
    rmSync(join(folder, "in", "data"), { recursive: true })
    symlinkSync(elsewhere, join(folder, "in", "data"))
    emptyFolder(folder, "in", ["in/data"])
    assert.isTrue(lstatSync(join(folder, "in", "data")).isDirectory())
    assert.deepStrictEqual(readdirSync(elsewhere), ["kept"])
  })
})
