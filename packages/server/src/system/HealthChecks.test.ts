import { assert, describe, it } from "@effect/vitest"
import { Role } from "@rat/domain"
import { Data, Duration, Effect } from "effect"
import fc from "fast-check"
import { checkTimeoutMs, type HealthCheck, nodeState } from "./HealthChecks.ts"

class Away extends Data.TaggedError("Away")<{ readonly message: string }> {}

const roleSets = fc.uniqueArray(fc.constantFrom(...Role.literals), { minLength: 1 })
const checkOf = fc.record({
  isThere: fc.boolean(),
  blocks: fc.uniqueArray(fc.constantFrom(...Role.literals)),
})

const made = ({ isThere, blocks }: { isThere: boolean; blocks: ReadonlyArray<Role> }, index: number): HealthCheck => ({
  name: `d${index}`,
  check: isThere ? Effect.void : Effect.fail(new Away({ message: "nothing listens there\nstack" })),
  blocks,
  impact: "Wait.",
})

describe("The state of a node", () => {
  it.effect("follows from what is away and from what its roles need", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(roleSets, fc.array(checkOf, { maxLength: 6 }), async (roles, dependencies) => {
          const { status, checks } = await Effect.runPromise(nodeState({ roles, checks: dependencies.map(made) }))
          const away = dependencies.filter(({ isThere }) => !isThere)
          const works = (role: Role) => !away.some(({ blocks }) => blocks.includes(role))
          if (away.length === 0) assert.strictEqual(status, "ready")
          else if (roles.includes("api")) assert.strictEqual(status, works("api") ? "degraded" : "not_ready")
          else assert.strictEqual(status, roles.some(works) ? "degraded" : "not_ready")
          for (const [index, { isThere }] of dependencies.entries()) {
            assert.deepStrictEqual(
              checks[`d${index}`],
              isThere ? { status: "ok" } : { status: "error", error: "nothing listens there", impact: "Wait." },
            )
          }
        }),
      ),
    ),
  )

  it.live("is there in time although a dependency neither answers nor can be interrupted", () =>
    Effect.gen(function* () {
      const stuck: HealthCheck = {
        name: "stuck",
        check: Effect.uninterruptible(Effect.sleep(checkTimeoutMs * 3)),
        circuit: Effect.succeed("half_open"),
        blocks: [],
        impact: "Wait.",
      }
      const [took, state] = yield* Effect.timed(nodeState({ roles: ["api"], checks: [stuck] }))
      assert.deepStrictEqual(state, {
        status: "degraded",
        checks: { stuck: { status: "error", error: "no answer within 2 s", impact: "Wait.", circuit: "half_open" } },
      })
      assert.isBelow(Duration.toMillis(took), checkTimeoutMs * 2)
    }),
  )
})
