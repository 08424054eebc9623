import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { CatalogCommit, CommitId, Ref, RefChange, RefName } from "../branch/Ref.ts"
import { NamespaceName } from "../namespace/Namespace.ts"
import { commonErrors } from "./ApiErrors.ts"

const params = { name: RefName }

const refQuery = {
  /** 1..200, default 50. */
  limit: Schema.optional(Schema.String),
  /** Name behind which the list goes on. */
  after: Schema.optional(Schema.String),
}

/** What a new branch or tag begins with: a ref, or main after a commit. */
const start = {
  from: Schema.optional(RefName),
  commit: Schema.optional(CommitId),
}

const merged = Schema.Struct({
  branch: RefName,
  /** False in a dry run, and when the branch had changed nothing. */
  merged: Schema.Boolean,
  commit_id: Schema.NullOr(CommitId),
  tables: Schema.Array(Schema.String),
  /** Of a dry run: what stands against it. */
  conflicts: Schema.Array(Schema.Struct({ table: Schema.String, reason: Schema.String })),
})

export class BranchesApi extends HttpApiGroup.make("branches")
  .add(
    HttpApiEndpoint.get("list", "/", {
      query: {
        ...refQuery,
        /** `true`: branches of runs too. */
        runs: Schema.optional(Schema.Literals(["true", "false"])),
      },
      success: Schema.Struct({ branches: Schema.Array(Ref), next: Schema.NullOr(Schema.String) }),
      error: commonErrors,
    }).annotate(OpenApi.Summary, "List branches"),
  )
  .add(
    HttpApiEndpoint.post("create", "/", {
      payload: Schema.Struct({ name: RefName, ...start, expires_at: Schema.optional(Schema.DateTimeUtcFromString) }),
      success: Ref.pipe(HttpApiSchema.status(201)),
      error: commonErrors,
    }).annotate(OpenApi.Summary, "Make a branch; it costs the same however many tables there are"),
  )
  .add(
    HttpApiEndpoint.get("get", "/:name", { params, success: Ref, error: commonErrors }).annotate(
      OpenApi.Summary,
      "One branch",
    ),
  )
  .add(
    HttpApiEndpoint.delete("delete", "/:name", {
      params,
      success: HttpApiSchema.NoContent,
      error: commonErrors,
    }).annotate(OpenApi.Summary, "Delete a branch and what was changed on it"),
  )
  .add(
    HttpApiEndpoint.get("changes", "/:name/changes", {
      params,
      success: Schema.Struct({ changes: Schema.Array(RefChange) }),
      error: commonErrors,
    }).annotate(OpenApi.Summary, "Tables that a branch changed"),
  )
  .add(
    HttpApiEndpoint.get("history", "/:name/history", {
      params,
      query: {
        limit: Schema.optional(Schema.String),
        /** Commits before this one. */
        before: Schema.optional(CommitId),
        table: Schema.optional(Schema.String),
      },
      success: Schema.Struct({ commits: Schema.Array(CatalogCommit) }),
      error: commonErrors,
    }).annotate(OpenApi.Summary, "Commits that are visible on a branch or tag, newest first"),
  )
  .add(
    HttpApiEndpoint.post("merge", "/:name/merge", {
      params,
      payload: Schema.Struct({
        message: Schema.optional(Schema.String.check(Schema.isMaxLength(1_000))),
        dry_run: Schema.optional(Schema.Boolean),
      }),
      success: merged,
      error: commonErrors,
    }).annotate(OpenApi.Summary, "Move main by all of the branch's changes at once, and end the branch"),
  )
  .add(
    HttpApiEndpoint.post("restore", "/main/restore", {
      payload: Schema.Struct({
        commit: CommitId,
        namespace: Schema.optional(NamespaceName),
        dry_run: Schema.optional(Schema.Boolean),
      }),
      success: Schema.Struct({ commit_id: Schema.NullOr(CommitId), tables: Schema.Array(Schema.String) }),
      error: commonErrors,
    }).annotate(OpenApi.Summary, "Set main, or one namespace of it, to what it was after a commit, as a new commit"),
  )
  .prefix("/api/v1/branches") {}

export class TagsApi extends HttpApiGroup.make("tags")
  .add(
    HttpApiEndpoint.get("list", "/", {
      query: refQuery,
      success: Schema.Struct({ tags: Schema.Array(Ref), next: Schema.NullOr(Schema.String) }),
      error: commonErrors,
    }).annotate(OpenApi.Summary, "List tags"),
  )
  .add(
    HttpApiEndpoint.post("create", "/", {
      payload: Schema.Struct({ name: RefName, ...start }),
      success: Ref.pipe(HttpApiSchema.status(201)),
      error: commonErrors,
    }).annotate(OpenApi.Summary, "Give a state of the catalog a name that never moves"),
  )
  .add(
    HttpApiEndpoint.delete("delete", "/:name", {
      params,
      success: HttpApiSchema.NoContent,
      error: commonErrors,
    }).annotate(OpenApi.Summary, "Delete a tag"),
  )
  .prefix("/api/v1/tags") {}
