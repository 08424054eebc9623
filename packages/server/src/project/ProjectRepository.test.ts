import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it, layer } from "@effect/vitest"
import { NamespaceName, ProjectFile, ProjectInvalid } from "@rat/domain"
import { FileStore, ObjectStore, PostgresCatalog, TestPostgres } from "@rat/lakehouse"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { Outbox } from "../event/Outbox.ts"
import { FileRepository } from "../file/FileRepository.ts"
import { LandingRepository } from "../landing/LandingRepository.ts"
import { NamespaceRepository } from "../namespace/NamespaceRepository.ts"
import { PipelineRepository } from "../pipeline/PipelineRepository.ts"
import { migrations } from "../sql/migrations.ts"
import { type ProjectPush, readPush } from "./ProjectPush.ts"
import { ProjectRepository } from "./ProjectRepository.ts"

const file = (path: string, content = "select 1 as a") => new ProjectFile({ path, content })

const pushOf = (namespace: NamespaceName, files: ReadonlyArray<ProjectFile>, zones: ReadonlyArray<string> = []) => {
  const push = readPush(namespace, files, zones)
  assert.notInstanceOf(push, ProjectInvalid)
  return push as ProjectPush
}

describe("readPush", () => {
  const namespace = NamespaceName.make("shop")

  it("names every file that cannot be placed, and every bad zone, at once", () => {
    const invalid = readPush(
      namespace,
      [
        file("pipelines/copper/a/pipeline.sql"),
        file("pipelines/bronze/BAD/pipeline.sql"),
        file("readme.md"),
        file("pipelines/bronze/a/../../x.sql"),
        file("pipelines/bronze/a/pipeline.sql"),
        file("pipelines/bronze/a/pipeline.sql"),
      ],
      ["Good?"],
    ) as ProjectInvalid
    assert.deepStrictEqual(
      invalid.issues.map((issue) => issue.code),
      ["path.layer", "path.name", "path.invalid", "path.invalid", "path.duplicate", "zone.name"],
    )
  })

  it("finds the pipelines and their types in the paths", () => {
    const push = pushOf(namespace, [
      file("pipelines/bronze/a/pipeline.sql"),
      file("pipelines/bronze/a/tests/quality/t.sql"),
      file("pipelines/gold/b/pipeline.py"),
    ])
    assert.deepStrictEqual(
      push.pipelines.map(({ layer, name, type }) => [layer, name, type]),
      [
        ["bronze", "a", "sql"],
        ["gold", "b", "python"],
      ],
    )
  })
})

const store = Layer.effect(
  ObjectStore,
  Effect.gen(function* () {
    const root = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "rat-project-"))),
      (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true })),
    )
    return yield* ObjectStore.pipe(Effect.provide(FileStore.layer({ root })))
  }),
)

const Test = ProjectRepository.layer.pipe(
  Layer.provideMerge(
    Layer.mergeAll(FileRepository.layer, LandingRepository.layer, NamespaceRepository.layer, PipelineRepository.layer),
  ),
  Layer.provideMerge(PostgresCatalog.layer),
  Layer.provideMerge(Layer.merge(store, Outbox.layer.pipe(Layer.provideMerge(TestPostgres.layer(migrations))))),
)

const plain = { prune: false, dryRun: false }

layer(Test, { excludeTestServices: true })("ProjectRepository", (it) => {
  it.effect("makes namespace, pipelines, zones and files that are missing, and nothing twice", () =>
    Effect.gen(function* () {
      const projects = yield* ProjectRepository
      const namespace = NamespaceName.make("made")
      const push = pushOf(
        namespace,
        [file("pipelines/bronze/a/pipeline.sql"), file("pipelines/silver/b/pipeline.sql")],
        ["z"],
      )
      const first = yield* projects.push(namespace, push, plain)
      assert.deepStrictEqual(first.pipelines_created, ["bronze.a", "silver.b"])
      assert.deepStrictEqual(first.zones_created, ["z"])
      assert.lengthOf(first.written, 2)
      const second = yield* projects.push(namespace, push, plain)
      assert.deepStrictEqual(
        [second.written, second.pipelines_created, second.zones_created, second.unchanged.length],
        [[], [], [], 2],
      )
    }),
  )

  it.effect("prunes only files of the pushed pipelines", () =>
    Effect.gen(function* () {
      const projects = yield* ProjectRepository
      const files = yield* FileRepository
      const namespace = NamespaceName.make("pruned")
      const all = [
        file("pipelines/bronze/a/pipeline.sql"),
        file("pipelines/bronze/a/tests/quality/old.sql"),
        file("pipelines/bronze/other/pipeline.sql"),
      ]
      yield* projects.push(namespace, pushOf(namespace, all), plain)
      const answer = yield* projects.push(namespace, pushOf(namespace, [all[0]!]), { prune: true, dryRun: false })
      assert.deepStrictEqual(answer.deleted, ["pipelines/bronze/a/tests/quality/old.sql"])
      assert.deepStrictEqual(
        (yield* files.list("pruned/")).map((each) => each.path),
        ["pruned/pipelines/bronze/a/pipeline.sql", "pruned/pipelines/bronze/other/pipeline.sql"],
      )
    }),
  )

  it.effect("changes nothing in a dry run, and says the same as the real one", () =>
    Effect.gen(function* () {
      const projects = yield* ProjectRepository
      const sql = yield* SqlClient.SqlClient
      const namespace = NamespaceName.make("dry")
      const push = pushOf(namespace, [file("pipelines/bronze/a/pipeline.sql")], ["z"])
      const dry = yield* projects.push(namespace, push, { prune: true, dryRun: true })
      assert.lengthOf(yield* sql`select 1 from namespace where name = 'dry'`, 0)
      assert.lengthOf(yield* sql`select 1 from file where path like 'dry/%'`, 0)
      const real = yield* projects.push(namespace, push, plain)
      assert.deepStrictEqual({ ...dry, dry_run: false }, { ...real })
    }),
  )

  it.effect("leaves nothing behind when one of its writes is refused", () =>
    Effect.gen(function* () {
      const projects = yield* ProjectRepository
      const sql = yield* SqlClient.SqlClient
      const namespace = NamespaceName.make("refused")
      yield* sql`alter table landing_zone add constraint no_bad_zone check (name <> 'bad')`
      const push = pushOf(namespace, [file("pipelines/bronze/a/pipeline.sql")], ["bad"])
      yield* Effect.flip(projects.push(namespace, push, plain))
      assert.lengthOf(yield* sql`select 1 from namespace where name = 'refused'`, 0)
      assert.lengthOf(yield* sql`select 1 from pipeline where namespace = 'refused'`, 0)
      assert.lengthOf(yield* sql`select 1 from outbox where namespace = 'refused'`, 0)
    }),
  )
})
