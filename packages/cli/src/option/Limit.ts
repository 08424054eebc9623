import { Flag } from "effect/cli"

/** Most rows of a list; the server's pages end at 200. */
export const limitFlag = Flag.Int("limit").pipe(
  Flag.filter(
    (limit) => limit >= 1 && limit <= 200,
    (limit) => `${limit} is not between 1 and 200.`,
  ),
  Flag.withDefault(20),
  Flag.withDescription("Most rows, 1 to 200 (default 20)"),
)
