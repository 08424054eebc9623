import { Api, mainRef, QueryRequest } from "@rat/domain"
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { refusal, wired } from "../http/ErrorEnvelope.ts"
import { RequestId } from "../http/RequestId.ts"
import { makeTableView } from "../table/TableView.ts"
import { QueryAnswers } from "./QueryAnswers.ts"
import { acceptedMediaTypes, formatOfAccept } from "./ResultMediaType.ts"

/** Rows of a JSON answer when the caller names no limit; the formats for machines have none. */
const defaultJsonRows = 1000

export const QueryHttp = HttpApiBuilder.group(
  Api,
  "query",
  Effect.fn(function* (handlers) {
    const answers = yield* QueryAnswers
    const view = yield* makeTableView
    return handlers.handleAll({
      run: ({ headers, payload }) =>
        Effect.gen(function* () {
          const format = formatOfAccept(headers.accept)
          if (format === null) {
            return refusal(406, `Answers come as ${acceptedMediaTypes}; Accept names none of them.`, {
              code: "NOT_ACCEPTABLE",
              requestId: yield* RequestId,
            })
          }
          const json = format === "objects"
          return yield* wired(
            answers.answer(
              new QueryRequest({
                sql: payload.sql,
                namespace: payload.namespace ?? null,
                ref: payload.branch ?? mainRef,
                format: json && payload.shape === "arrays" ? "arrays" : format,
                limit: payload.limit ?? (json ? defaultJsonRows : Number.MAX_SAFE_INTEGER),
                timeoutMs: payload.timeout_ms ?? null,
              }),
            ),
          )
        }),
      schema: ({ query }) =>
        wired(
          Effect.map(
            view.schema(query.branch, query.namespace === undefined ? {} : { namespace: query.namespace }),
            (tables) => ({ tables }),
          ),
        ),
    })
  }),
)
