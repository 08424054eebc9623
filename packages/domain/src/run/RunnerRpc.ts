import { Schema } from "effect"
import { Rpc, RpcGroup } from "effect/rpc"
import { RoleUnavailable } from "../cluster/ClusterErrors.ts"
import { MaintenanceFailed, MaintenanceId, TableOperation, TableReport } from "../maintenance/Maintenance.ts"
import { MaintenancePolicy, MaintenancePolicyPart } from "../maintenance/MaintenancePolicy.ts"
import { NamespaceName } from "../namespace/Namespace.ts"
import { ProjectIssue } from "../pipeline/PipelineErrors.ts"
import { Queueing } from "../quota/Priority.ts"
import { SlotHealth } from "../slot/SlotHealth.ts"
import { TableKey } from "../table/Table.ts"

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
    /** The process that looks at files died again and again, or is taken for too long. */
    error: RoleUnavailable,
  }),
  /**
   * What each of these files says of how its pipeline's runs queue, in their order. Files that were checked before; of others only
   * what can be read counts.
   */
  Rpc.make("Queueing", { payload: { files: Schema.Array(ProjectFile) }, success: Schema.Array(Queueing) }),
  /**
   * Looks after a table of main, in a slot of its own; answers at the end. Each group of files is a commit, so what an
   * interrupted or repeated call has done stays. With `dryRun` it only says what it would do.
   */
  Rpc.make("Maintain", {
    payload: {
      id: MaintenanceId,
      table: TableKey,
      operations: Schema.Array(TableOperation),
      /** The server's defaults, and what was said of the table through the API; the pipeline's word is in the table. */
      defaults: MaintenancePolicy,
      overrides: Schema.NullOr(MaintenancePolicyPart),
      /** Whether somebody asked for it: then it is done also where the policy is off. */
      isManual: Schema.Boolean,
      dryRun: Schema.Boolean,
    },
    success: TableReport,
    error: MaintenanceFailed,
  }),
  /** Answers when the role works; its slots as they are now. */
  Rpc.make("Health", { success: SlotHealth }),
) {}
