import { createReadStream } from "node:fs"
import { join } from "node:path"
import {
  Column,
  QueryBody,
  type QueryError,
  QueryHead,
  type QueryRequest,
  QueryTail,
  QueryTimedOut,
  type ResultFormat,
} from "@rat/domain"
import type { SlotPool } from "@rat/lakehouse"
import { Effect, Stream } from "effect"
import { queryFailure } from "./QueryFailure.ts"
import type { QueryOrder, QueryPiece } from "./QueryPiece.ts"
import { planQuery, setupOf } from "./QueryPlan.ts"
import { linkFiles, slotFileName } from "./SlotFiles.ts"

const contentTypes: { readonly [F in ResultFormat]: string } = {
  objects: "application/json",
  arrays: "application/json",
  csv: "text/csv; charset=utf-8",
  parquet: "application/vnd.apache.parquet",
  arrow: "application/vnd.apache.arrow.stream",
}

/** Bytes of a result file that are sent at once. */
const filePieceBytes = 256 * 1024

const fileBody = (path: string): Stream.Stream<QueryBody> =>
  Stream.fromAsyncIterable(createReadStream(path, { highWaterMark: filePieceBytes }), (error) => error).pipe(
    Stream.orDie,
    Stream.map((bytes: Uint8Array) => new QueryBody({ bytes })),
  )

/**
 * Answers one query: plans it, waits for a slot, executes it there and passes its pieces on as they come. Ending the
 * stream early stops the statement; so does the time limit, which counts from the start.
 */
export const answerQuery = (pool: SlotPool, request: QueryRequest, mostMs: number) => {
  const timeoutMs = Math.min(request.timeoutMs ?? mostMs, mostMs)
  return Stream.unwrap(
    Effect.gen(function* () {
      const original = { sql: request.sql, originalOf: (position: number) => position }
      // A slot is taken only when it is needed: planning may wait for the object store.
      const acquire = yield* Effect.cached(
        Effect.catch(pool.acquire, (failure) => queryFailure(request, original, failure)),
      )
      const treeOf = (sql: string) =>
        Effect.flatMap(acquire, (slot) =>
          Effect.catch(slot.call<string>("tree", sql), (failure) => queryFailure(request, original, failure)),
        )
      const plan = yield* planQuery(request, treeOf)
      const fail = (failure: Parameters<typeof queryFailure>[2]) => queryFailure(request, plan.text, failure)
      const slot = yield* acquire
      for (const { paths } of plan.tables) yield* linkFiles(slot, paths)
      const order: QueryOrder = {
        sql: plan.text.sql,
        databases: plan.databases,
        setup: setupOf(plan, (location) => join(slot.folder, "in", slotFileName(location))),
        format: request.format,
        limit: request.limit,
      }
      const send = (piece: QueryPiece): Stream.Stream<QueryHead | QueryBody | QueryTail> => {
        switch (piece.kind) {
          case "head":
            return Stream.succeed(
              new QueryHead({
                columns: piece.columns.map((column) => new Column(column)),
                contentType: contentTypes[request.format],
              }),
            )
          case "body":
            return Stream.succeed(new QueryBody({ bytes: piece.bytes }))
          case "file":
            return fileBody(piece.path)
          case "tail":
            return Stream.succeed(new QueryTail({ rows: piece.rows, truncated: piece.truncated }))
        }
      }
      return slot.stream<ReadonlyArray<QueryPiece>>("query", order).pipe(
        Stream.catch((failure) => Stream.fromEffect(fail(failure))),
        Stream.flatMap((pieces) => Stream.fromIterable(pieces)),
        Stream.flatMap(send),
      )
    }),
  ).pipe(
    Stream.interruptWhen(
      Effect.delay(
        Effect.suspend(() => Effect.fail<QueryError>(new QueryTimedOut({ timeoutMs }))),
        timeoutMs,
      ),
    ),
    Stream.withSpan("QueryRole.query", { attributes: { "rat.ref": request.ref, "rat.format": request.format } }),
  )
}
