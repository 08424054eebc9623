import { Schema } from "effect"
import { Role } from "./Node.ts"

/**
 * No node with the role answers: none is there, or all that are there could not be reached or were lost before they had answered.
 */
export class RoleUnavailable extends Schema.TaggedError<RoleUnavailable>()(
  "RoleUnavailable",
  { role: Role, reason: Schema.String },
  { httpApiStatus: 503 },
) {
  override get message() {
    return `No node with the role "${this.role}" can answer at the moment: ${this.reason} Try again in a few seconds; \`rat nodes\` shows which nodes there are.`
  }
}
