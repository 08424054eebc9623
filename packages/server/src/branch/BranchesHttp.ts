import { Api, pageOf, RefChange } from "@rat/domain"
import { Catalog } from "@rat/lakehouse"
import { Effect, Option } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { Outbox } from "../event/Outbox.ts"
import { wired } from "../http/ErrorEnvelope.ts"
import { makeBranchMerge, tableKeyOf } from "./BranchMerge.ts"
import { checkOwn } from "./RefRules.ts"
import { makeRefView, toCatalogCommit, toRef } from "./RefView.ts"

/** Who moved main, in its history, when a person did. Triggers append the events of branches and tags (0014_event.sql). */
const author = "api"

export const BranchesHttp = HttpApiBuilder.group(
  Api,
  "branches",
  Effect.fn(function* (handlers) {
    const catalog = yield* Catalog
    const view = yield* makeRefView
    const merges = yield* makeBranchMerge
    const outbox = yield* Outbox
    return handlers.handleAll({
      list: ({ query }) =>
        wired(
          Effect.map(
            view.list(({ kind, runId }) => kind === "branch" && (runId === null || query.runs === "true"), {
              limit: pageOf(query).limit,
              after: query.after,
            }),
            ({ next, refs }) => ({ branches: refs, next }),
          ),
        ),
      create: ({ payload }) =>
        wired(
          Effect.tap(
            view.createBranch(payload.name, { from: payload.from, commit: payload.commit }, payload.expires_at),
            outbox.wake,
          ),
        ),
      get: ({ params }) => wired(Effect.map(catalog.ref(params.name), toRef)),
      delete: ({ params }) =>
        wired(
          Effect.gen(function* () {
            yield* checkOwn(yield* catalog.ref(params.name), "branch", "deleted")
            yield* catalog.deleteRef(params.name)
            yield* outbox.wake
          }),
        ),
      changes: ({ params }) =>
        wired(
          Effect.map(catalog.changes(params.name), (changes) => ({
            changes: changes.map(
              ({ isBehind, key, kind }) => new RefChange({ table: key.toString(), kind, is_behind: isBehind }),
            ),
          })),
        ),
      history: ({ params, query }) =>
        wired(
          Effect.map(
            catalog.history(params.name, {
              limit: pageOf(query).limit,
              ...(query.before === undefined ? {} : { before: query.before }),
              ...(query.table === undefined ? {} : { table: tableKeyOf(query.table) }),
            }),
            (commits) => ({ commits: commits.map(toCatalogCommit) }),
          ),
        ),
      merge: ({ params, payload }) =>
        wired(
          Effect.gen(function* () {
            const branch = params.name
            // A repeated merge finds its branch gone, and is answered with what the first one did.
            const ref = yield* Effect.option(catalog.ref(branch))
            if (Option.isSome(ref)) yield* checkOwn(ref.value, "branch", "merged")
            if (payload.dry_run === true) {
              return { branch, merged: false, commit_id: null, ...(yield* merges.preview(branch)) }
            }
            const commit = yield* merges.merge(branch, payload.message ?? `merge ${branch}`, author)
            return {
              branch,
              merged: commit !== null,
              commit_id: commit?.id ?? null,
              tables: commit?.tables ?? [],
              conflicts: [],
            }
          }),
        ),
      restore: ({ payload }) =>
        wired(
          Effect.gen(function* () {
            if (payload.dry_run === true) {
              const changes = yield* merges.restoration(payload.commit, payload.namespace)
              return { commit_id: null, tables: changes.map(({ key }) => key.toString()) }
            }
            const commit = yield* merges.restore(payload.commit, payload.namespace, author)
            return { commit_id: commit?.id ?? null, tables: commit?.tables ?? [] }
          }),
        ),
    })
  }),
)

export const TagsHttp = HttpApiBuilder.group(
  Api,
  "tags",
  Effect.fn(function* (handlers) {
    const catalog = yield* Catalog
    const view = yield* makeRefView
    const outbox = yield* Outbox
    return handlers.handleAll({
      list: ({ query }) =>
        wired(
          Effect.map(
            view.list(({ kind }) => kind === "tag", { limit: pageOf(query).limit, after: query.after }),
            ({ next, refs }) => ({ tags: refs, next }),
          ),
        ),
      create: ({ payload }) =>
        wired(Effect.tap(view.createTag(payload.name, { from: payload.from, commit: payload.commit }), outbox.wake)),
      delete: ({ params }) =>
        wired(
          Effect.gen(function* () {
            yield* checkOwn(yield* catalog.ref(params.name), "tag", "deleted")
            yield* catalog.deleteRef(params.name)
            yield* outbox.wake
          }),
        ),
    })
  }),
)
