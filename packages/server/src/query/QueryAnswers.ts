import {
  mainRef,
  type QueryBody,
  type QueryError,
  type QueryHead,
  QueryRequest,
  type QueryTail,
  type RefName,
  type TableKey,
} from "@rat/domain"
import { Cause, Clock, Context, Effect, Exit, Layer, Predicate, Pull, type Scope, Stream } from "effect"
import { HttpServerResponse } from "effect/http"
import { countQuery } from "../telemetry/Metrics.ts"
import { QueryClient } from "./QueryClient.ts"

type Piece = QueryHead | QueryBody | QueryTail

/**
 * Results of the query role as streamed HTTP answers. Rows are sent on as the bytes they arrive in. Nothing is sent
 * before the first piece of the body is there, so what fails until then still gets its own status; a failure after it
 * breaks the connection, which no client takes for a complete answer. When the client leaves, the statement is cancelled.
 */
export class QueryAnswers extends Context.Service<
  QueryAnswers,
  {
    readonly answer: (
      request: QueryRequest,
    ) => Effect.Effect<HttpServerResponse.HttpServerResponse, QueryError, Scope.Scope>
    /** The first rows of a table, as objects. */
    readonly preview: (
      table: Pick<TableKey, "namespace" | "layer" | "name">,
      branch: RefName | undefined,
      limit: number,
    ) => Effect.Effect<HttpServerResponse.HttpServerResponse, QueryError, Scope.Scope>
  }
>()("rat/server/query/QueryAnswers") {
  static readonly layer = Layer.effect(
    QueryAnswers,
    Effect.gen(function* () {
      const client = yield* QueryClient

      const begin = Effect.fn("QueryAnswers.answer")(function* (request: QueryRequest, startedAt: number) {
        const pull = yield* Stream.toPull(client.Query(request) as Stream.Stream<Piece, QueryError>)
        const begun: Array<Piece> = []
        while (!begun.some((piece) => piece._tag !== "Head")) {
          const pieces = yield* Pull.catchDone(pull, () => Effect.succeed([] as ReadonlyArray<Piece>))
          if (pieces.length === 0) break
          begun.push(...pieces)
        }
        const head = begun.find((piece): piece is QueryHead => piece._tag === "Head")
        if (head === undefined) return yield* Effect.die(new Error("The query role sent no head."))
        const pieces = Stream.concat(Stream.fromIterable(begun), Stream.fromPull(Effect.succeed(pull)))
        const body =
          request.format === "objects" || request.format === "arrays"
            ? jsonBody(head, pieces, startedAt)
            : Stream.flatMap(pieces, (piece) => (piece._tag === "Body" ? Stream.succeed(piece.bytes) : Stream.empty))
        return HttpServerResponse.stream(Stream.onExit(body, count(startedAt)), { contentType: head.contentType })
      })

      const answer = (request: QueryRequest) =>
        Effect.flatMap(Clock.currentTimeMillis, (startedAt) =>
          // A success here only says that the body has begun; it is counted when the body ends.
          Effect.onError(begin(request, startedAt), (cause) => count(startedAt)(Exit.failCause(cause))),
        )

      return QueryAnswers.of({
        answer,
        preview: ({ namespace, layer, name }, branch, limit) =>
          answer(
            new QueryRequest({
              sql: `select * from "${namespace}"."${layer}"."${name}" limit ${limit}`,
              namespace,
              ref: branch ?? mainRef,
              format: "objects",
              limit,
              timeoutMs: null,
            }),
          ),
      })
    }),
  )
}

const outcomeOf = (exit: Exit.Exit<unknown, unknown>) => {
  if (Exit.isSuccess(exit)) return "success"
  if (Cause.hasInterruptsOnly(exit.cause)) return "cancelled"
  return Predicate.isTagged(Cause.squash(exit.cause), "QueryBusy") ? "refused" : "error"
}

const count = (startedAt: number) => (exit: Exit.Exit<unknown, unknown>) =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => countQuery(outcomeOf(exit), now - startedAt))

const encoder = new TextEncoder()

/** `{"columns":[…],"rows":[…],"total_rows":n,"duration_ms":n}` around rows that already are JSON. */
const jsonBody = <E>(head: QueryHead, pieces: Stream.Stream<Piece, E>, startedAt: number) =>
  Stream.mapEffect(pieces, (piece) => {
    switch (piece._tag) {
      case "Head":
        return Effect.succeed(encoder.encode(`{"columns":${JSON.stringify(head.columns)},"rows":`))
      case "Body":
        return Effect.succeed(piece.bytes)
      case "Tail":
        return Effect.map(Clock.currentTimeMillis, (now) =>
          encoder.encode(
            `,"total_rows":${piece.rows},"duration_ms":${now - startedAt}${piece.truncated ? ',"truncated":true' : ""}}`,
          ),
        )
    }
  })
