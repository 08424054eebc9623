import { Schema } from "effect"
import { Rpc, RpcGroup } from "effect/rpc"
import { NamespaceName } from "../namespace/Namespace.ts"
import { ProjectIssue } from "../pipeline/PipelineErrors.ts"
import { SlotHealth } from "../slot/SlotHealth.ts"

/** A text file as people edit it. `path` is inside the namespace: `pipelines/silver/flights/pipeline.sql`. */
export class ProjectFile extends Schema.Class<ProjectFile>("rat/domain/ProjectFile")({
  path: Schema.String,
  content: Schema.String,
}) {}

/** What the control and API roles ask of the runner role, which knows templates, settings and SQL. */
export class RunnerRpc extends RpcGroup.make(
  /**
   * Every problem of the files: unknown or invalid settings and annotations, template and SQL syntax, and references to
   * tables and landing zones that neither the files nor `known` have. Empty when all is well.
   */
  Rpc.make("Validate", {
    payload: {
      namespace: NamespaceName,
      files: Schema.Array(ProjectFile),
      /** `namespace.layer.name` of pipelines and tables, and `zone:name` of landing zones, that exist already. */
      known: Schema.Array(Schema.String),
    },
    success: Schema.Array(ProjectIssue),
  }),
  /** Answers when the role works; its slots as they are now. */
  Rpc.make("Health", { success: SlotHealth }),
) {}
