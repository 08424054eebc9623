import { Schema } from "effect"
import { Description, Name, NamespaceName } from "../namespace/Namespace.ts"

export const Layer = Schema.Literals(["bronze", "silver", "gold"])
export type Layer = typeof Layer.Type

export const PipelineId = Schema.String.check(Schema.isUUID()).pipe(Schema.brand("PipelineId"))
export type PipelineId = typeof PipelineId.Type

export const PipelineName = Name.pipe(Schema.brand("PipelineName"))
export type PipelineName = typeof PipelineName.Type

/** What runs: SQL today. `python` is a known word that is refused with a reason until its sandbox exists. */
export const PipelineType = Schema.Literals(["sql", "python"])
export type PipelineType = typeof PipelineType.Type

/** The address of a pipeline, and of the one table it writes: `namespace.layer.name`. */
export class PipelineKey extends Schema.Class<PipelineKey>("rat/domain/PipelineKey")({
  namespace: NamespaceName,
  layer: Layer,
  name: PipelineName,
}) {
  override toString() {
    return `${this.namespace}.${this.layer}.${this.name}`
  }
}

/** Folder of a pipeline's files, with a trailing slash: `ns/pipelines/layer/name/`. */
export const pipelineFolder = (key: { readonly namespace: string; readonly layer: string; readonly name: string }) =>
  `${key.namespace}/pipelines/${key.layer}/${key.name}/`

/** A pipeline as clients see it. Field names are those of the wire. */
export class Pipeline extends Schema.Class<Pipeline>("rat/domain/Pipeline")({
  id: PipelineId,
  namespace: NamespaceName,
  layer: Layer,
  name: PipelineName,
  type: PipelineType,
  s3_path: Schema.String,
  description: Schema.String,
  owner: Schema.NullOr(Schema.String),
  draft_dirty: Schema.Boolean,
  max_versions: Schema.Int,
  created_at: Schema.DateTimeUtcFromDate,
  updated_at: Schema.DateTimeUtcFromDate,
}) {}

export class PipelineCreate extends Schema.Class<PipelineCreate>("rat/domain/PipelineCreate")({
  namespace: NamespaceName,
  layer: Layer,
  name: PipelineName,
  type: Schema.optional(PipelineType),
  description: Schema.optional(Description),
}) {}

export class PipelineUpdate extends Schema.Class<PipelineUpdate>("rat/domain/PipelineUpdate")({
  description: Schema.optional(Description),
  type: Schema.optional(PipelineType),
  owner: Schema.optional(Schema.NullOr(Schema.String)),
}) {}
