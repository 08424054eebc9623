import { createHash } from "node:crypto"
import { Effect, Schedule } from "effect"
import { SqlClient } from "effect/sql"
import { decodeAnswer, encodeAnswer, type RestAnswer } from "./RestCall.ts"
import {
  RestFailure,
  type RestFailureType,
  type RestProblem,
  refuse,
  restFailure,
  statusOfType,
} from "./RestFailure.ts"

/** Told to clients by `GET /v1/config`; answers are kept somewhat longer. */
export const keyLifetime = "PT24H"
const keptHours = 25

/** A request whose node died is taken over after this; until then a repetition waits. */
const takenOverSeconds = 120
const maxWaits = 100

const keyPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

interface Row {
  readonly request: string
  readonly status: number | null
  readonly answer: string | null
  readonly claimable: boolean
}

/**
 * Requests with an `Idempotency-Key` are carried out once (REST catalog, parameter `idempotency-key`): a repetition gets what the
 * first one got, refusals included. What failed on the server's side is not kept, and done again. Commits mark their key in
 * the very transaction that moves the pointers, so a node that dies afterwards leaves no doubt.
 */
export const makeIdempotency = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  const claim = Effect.fnUntraced(function* (key: string, request: string) {
    yield* sql`
      delete from iceberg_request
      where key in (
        select key
        from iceberg_request
        where created_at < now() - make_interval(hours => ${keptHours}::integer)
        order by created_at
        limit 20
      )`
    const mine = yield* sql`
      insert into iceberg_request (key, request)
      values (${key}, ${request})
      on conflict (key) do nothing
      returning 1`
    if (mine.length > 0) return null
    const [row] = yield* sql<Row>`
      select
        request, status, answer,
        claimed_at < clock_timestamp() - make_interval(secs => ${takenOverSeconds}::integer) as claimable
      from iceberg_request
      where key = ${key}`
    if (row === undefined) return yield* stillBusy
    if (row.request !== request) {
      return yield* refuse(
        "UnprocessableEntityException",
        "The Idempotency-Key was used for another request. Every operation needs a key of its own.",
      )
    }
    if (row.status !== null) return row
    if (!row.claimable) return yield* stillBusy
    const taken = yield* sql`
      update iceberg_request
      set claimed_at = clock_timestamp()
      where key = ${key} and status is null
        and claimed_at < clock_timestamp() - make_interval(secs => ${takenOverSeconds}::integer)
      returning 1`
    return taken.length > 0 ? null : yield* stillBusy
  })

  const stillBusy = Effect.fail(
    refuse("SlowDownException", "The first request with this Idempotency-Key is still being worked on. Ask again."),
  )

  const finish = (key: string, status: number, answer: string) => sql`
    update iceberg_request
    set status = ${status}, answer = ${answer}
    where key = ${key} and status is null`

  const release = (key: string) => sql`
    delete from iceberg_request
    where key = ${key} and status is null`

  const replay = (row: Row): Effect.Effect<RestAnswer, RestFailure> => {
    if (row.status !== null && row.status < 400) return Effect.succeed(decodeAnswer(row.answer!))
    const { reason, type } = JSON.parse(row.answer!) as { readonly type: RestFailureType; readonly reason: string }
    return Effect.fail(new RestFailure({ type, reason }))
  }

  return {
    /** Runs `work` under the key, or answers with what it came to before. */
    once: Effect.fnUntraced(function* <E extends RestProblem>(
      key: string,
      request: { readonly method: string; readonly url: string; readonly body: string },
      work: Effect.Effect<RestAnswer, E>,
    ) {
      if (!keyPattern.test(key)) {
        return yield* refuse("BadRequestException", "The Idempotency-Key is no UUID.")
      }
      const digest = createHash("sha256").update(`${request.method} ${request.url}\n${request.body}`).digest("hex")
      const known = yield* Effect.retry(claim(key, digest), {
        schedule: Schedule.spaced("100 millis"),
        times: maxWaits,
        while: (error) => error._tag === "RestFailure" && error.type === "SlowDownException",
      })
      if (known !== null) return yield* replay(known)
      return yield* work.pipe(
        Effect.tap((answer) => finish(key, answer.kind === "empty" ? answer.status : 200, encodeAnswer(answer))),
        Effect.tapError((error) => {
          const { reason, type } = restFailure(error as RestProblem)
          const status = statusOfType[type]
          return status < 500 ? finish(key, status, JSON.stringify({ type, reason })) : release(key)
        }),
        Effect.onInterrupt(() => Effect.ignore(release(key))),
      )
    }),
  }
})
