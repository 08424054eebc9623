import { Schema } from "effect"
import { RunId, WireRunStatus } from "./Run.ts"

export class RunNotFound extends Schema.TaggedError<RunNotFound>()(
  "RunNotFound",
  { runId: Schema.String },
  { httpApiStatus: 404 },
) {
  override get message() {
    return `Run "${this.runId}" does not exist. \`rat runs\` lists the runs there are.`
  }
}

export class LeaseLost extends Schema.TaggedError<LeaseLost>()(
  "LeaseLost",
  { runId: RunId, attempt: Schema.Int },
  { httpApiStatus: 409 },
) {
  override get message() {
    return `Attempt ${this.attempt} of run ${this.runId} lost its lease. Stop it; a later attempt holds the run.`
  }
}

/** A terminal run cannot be cancelled. */
export class RunFinished extends Schema.TaggedError<RunFinished>()(
  "RunFinished",
  { runId: RunId, status: WireRunStatus },
  { httpApiStatus: 409 },
) {
  override get message() {
    return `Run ${this.runId} has already ended with status "${this.status}" and cannot be cancelled.`
  }
}

/** Why a run cannot be repeated, by the reason's code: what is the matter, and what to do. */
const repeatRefusals = {
  active: "has not ended and goes on by itself. Cancel it first, or wait for its end.",
  succeeded: "succeeded: there is nothing left to go on with. Use retry to run its code again.",
  no_checkpoint:
    "left nothing to go on from: it ended too early, or what it had done has expired. Use retry to run it from the beginning.",
}

export class RunNotRepeatable extends Schema.TaggedError<RunNotRepeatable>()(
  "RunNotRepeatable",
  { runId: RunId, reason: Schema.Literals(["active", "succeeded", "no_checkpoint"]) },
  { httpApiStatus: 409 },
) {
  override get message() {
    return `Run ${this.runId} ${repeatRefusals[this.reason]}`
  }
}

/** The queue is bounded; nothing was accepted. Try again after `retryAfterSeconds`. */
export class QueueFull extends Schema.TaggedError<QueueFull>()(
  "QueueFull",
  {
    scope: Schema.Literals(["pipeline", "namespace"]),
    name: Schema.String,
    limit: Schema.Int,
    retryAfterSeconds: Schema.Int,
  },
  { httpApiStatus: 429 },
) {
  override get message() {
    return `The ${this.scope} "${this.name}" already has ${this.limit} pending runs, its limit. Try again in ${this.retryAfterSeconds} s.`
  }
}

/** Publishing found that another commit changed the same table since the run's base. */
export class PublishConflict extends Schema.TaggedError<PublishConflict>()(
  "PublishConflict",
  { runId: RunId, tables: Schema.Array(Schema.String) },
  { httpApiStatus: 409 },
) {
  override get message() {
    return `Run ${this.runId} was not published: ${this.tables.join(", ")} changed on main since its branch was made. Run it again.`
  }
}

/** The database that holds the runs does not answer. An actor's way to say so, since SQL errors stay in their process. */
export class StateUnavailable extends Schema.TaggedError<StateUnavailable>()(
  "StateUnavailable",
  { entity: Schema.String },
  { httpApiStatus: 503 },
) {
  override get message() {
    return "The database cannot be reached at the moment. Try again in a few seconds."
  }
}
