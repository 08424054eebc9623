import {
  Api,
  blocksPublish,
  maxNoopWaitMs,
  type NamespaceName,
  noopWaitMs,
  type PipelineId,
  pageOf,
  type Run,
  type RunCreate,
  RunId,
  type RunKind,
  RunNotFound,
  toWireStatus,
} from "@rat/domain"
import { Effect, Option, Schema } from "effect"
import { HttpServerResponse, HttpTraceContext } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { wired, wireError } from "../http/ErrorEnvelope.ts"
import { eventStreamHeaders } from "../http/ServerSentEvents.ts"
import { makeSubmitter } from "../pipeline/PipelineEntity.ts"
import { type PipelineAddress, PipelineRepository } from "../pipeline/PipelineRepository.ts"
import { eventStream, LogStreams, resumeAfter } from "./LogStream.ts"
import { makeRunActors } from "./RunEntity.ts"
import { RunRepository } from "./RunRepository.ts"
import { RunSettings } from "./RunSettings.ts"

/** What runs are called that nobody gave a reason for. */
const defaultTrigger = "manual"

/** Pipelines whose ids are remembered. */
const maxKnownIds = 10_000

export const RunsHttp = HttpApiBuilder.group(
  Api,
  "runs",
  Effect.fn(function* (handlers) {
    const runs = yield* RunRepository
    const pipelines = yield* PipelineRepository
    const settings = yield* RunSettings
    const streams = yield* LogStreams
    const submitRun = yield* makeSubmitter
    const actors = yield* makeRunActors

    /** Ids of pipelines by address, to save a round trip on the way to the first statement. May be stale: see below. */
    const knownIds = new Map<string, PipelineId>()

    const pipelineIdOf = Effect.fnUntraced(function* (address: PipelineAddress, isFresh: boolean) {
      const key = `${address.namespace}.${address.layer}.${address.name}`
      const known = isFresh ? undefined : knownIds.get(key)
      if (known !== undefined) return known
      knownIds.delete(key)
      const { id } = yield* pipelines.find(address)
      if (knownIds.size >= maxKnownIds) knownIds.clear()
      knownIds.set(key, id)
      return id
    })

    /** What is to run: checked before the actor is asked, since only names are known here. */
    const targetOf = Effect.fn("RunsHttp.target")(function* (wish: typeof RunCreate.Type, isFresh: boolean) {
      const { namespace, layer, pipeline } = wish
      const kind: RunKind = wish.kind ?? "pipeline"
      if (kind === "noop") {
        if (layer !== undefined || pipeline !== undefined) {
          return yield* Effect.fail(
            wireError(400, 'A run of kind "noop" has no pipeline: leave out "layer" and "pipeline".'),
          )
        }
        if (noopWaitMs(wish.parameters ?? {}) === null) {
          return yield* Effect.fail(
            wireError(400, `Parameter "wait_ms" of a run of kind "noop" is a whole number from 0 to ${maxNoopWaitMs}.`),
          )
        }
        return { kind, namespace, pipelineId: null }
      }
      if (layer === undefined || pipeline === undefined) {
        return yield* Effect.fail(
          wireError(400, 'Name what to run: "namespace", "layer" (bronze, silver, gold) and "pipeline".'),
        )
      }
      return { kind, namespace, pipelineId: yield* pipelineIdOf({ namespace, layer, name: pipeline }, isFresh) }
    })

    const traceparent = Effect.map(Effect.option(Effect.currentSpan), (span) =>
      Option.match(span, {
        onNone: () => null,
        onSome: (open) => HttpTraceContext.toHeaders(open).traceparent ?? null,
      }),
    )

    const submit = Effect.fnUntraced(function* (
      wish: typeof RunCreate.Type,
      idempotencyKey: string | undefined,
      isFresh: boolean,
    ) {
      const target = yield* targetOf(wish, isFresh)
      const run = yield* submitRun({
        ...target,
        trigger: wish.trigger ?? defaultTrigger,
        idempotencyKey: idempotencyKey === undefined || idempotencyKey === "" ? null : idempotencyKey,
        traceparent: yield* traceparent,
        parameters: wish.parameters ?? {},
        logicalTime: wish.logical_time ?? null,
        priority: wish.priority ?? null,
        repeat: null,
      })
      return { run, target }
    })

    const create = Effect.fn("RunsHttp.create")(function* (
      wish: typeof RunCreate.Type,
      idempotencyKey: string | undefined,
    ) {
      // A pipeline that was deleted, and perhaps made anew, since its id was remembered is looked up again.
      const { run, target } = yield* submit(wish, idempotencyKey, false).pipe(
        Effect.catchTag("PipelineNotFound", () => submit(wish, idempotencyKey, true)),
      )
      if (!isOf(run, target)) return yield* keyReused(run)
      return { run_id: run.id, status: run.status }
    })

    /** A new run of what an earlier one was of. */
    const repeat = Effect.fn("RunsHttp.repeat")(function* (
      text: string,
      resume: boolean,
      idempotencyKey: string | undefined,
    ) {
      const of = yield* runIdOf(text)
      const target = yield* runs.repeatable({ of, resume })
      const run = yield* submitRun({
        ...target,
        trigger: `${resume ? "resume" : "retry"}:${of}`,
        idempotencyKey: idempotencyKey === undefined || idempotencyKey === "" ? null : idempotencyKey,
        traceparent: yield* traceparent,
        // The earlier run's.
        parameters: {},
        logicalTime: null,
        repeat: { of, resume },
      })
      if (run.retry_of !== of) return yield* keyReused(run)
      return { run_id: run.id, status: run.status, retry_of: of }
    })

    return handlers.handleAll({
      list: ({ query }) =>
        wired(
          runs.list({
            ...pageOf(query),
            sort: query.sort,
            namespace: query.namespace,
            layer: query.layer,
            pipeline: query.pipeline,
            status: query.status,
            startedAfter: query.started_after,
            startedBefore: query.started_before,
          }),
        ),
      create: ({ payload, headers }) => wired(create(payload, headers["idempotency-key"])),
      retry: ({ params, headers }) => wired(repeat(params.runId, false, headers["idempotency-key"])),
      resume: ({ params, headers }) => wired(repeat(params.runId, true, headers["idempotency-key"])),
      attempts: ({ params }) =>
        wired(
          Effect.map(Effect.flatMap(runIdOf(params.runId), runs.attempts), (attempts) => ({
            attempts,
            total: attempts.length,
          })),
        ),
      get: ({ params }) => wired(Effect.flatMap(runIdOf(params.runId), runs.find)),
      cancel: ({ params }) =>
        wired(
          Effect.gen(function* () {
            const run = yield* actors.cancel(yield* runIdOf(params.runId))
            return { run_id: run.id, status: run.status }
          }),
        ),
      logs: ({ params, query, headers, request }) =>
        wired(
          Effect.gen(function* () {
            const runId = yield* runIdOf(params.runId)
            // Status first: when it is terminal, the lines read after it are all there are.
            const status = toWireStatus(yield* runs.status(runId))
            if (!headers.accept?.includes("text/event-stream")) {
              const page = { afterSeq: 0, limit: settings.maxLogLines, attempt: query.attempt }
              return { logs: yield* runs.logs(runId, page), status }
            }
            yield* streams.enter(Option.getOrElse(request.remoteAddress, () => "unknown"))
            const updates = actors.follow(runId, resumeAfter(headers["last-event-id"]))
            return HttpServerResponse.stream(
              eventStream(updates, { heartbeat: settings.streamHeartbeat, maxLife: settings.streamMaxLife }),
              { contentType: "text/event-stream", headers: eventStreamHeaders },
            )
          }),
        ),
      quality: ({ params }) =>
        wired(
          Effect.map(Effect.flatMap(runIdOf(params.runId), runs.quality), (results) => ({
            results,
            passed: results.filter((result) => result.status === "passed").length,
            failed: results.filter(blocksPublish).length,
            total: results.length,
          })),
        ),
    })
  }),
)

const isRunId = Schema.is(RunId)

const runIdOf = (text: string): Effect.Effect<RunId, RunNotFound> =>
  isRunId(text) ? Effect.succeed(text) : Effect.fail(new RunNotFound({ runId: text }))

const keyReused = (run: Run) =>
  Effect.fail(
    wireError(409, `This Idempotency-Key already made run ${run.id}, of something else. Use a new key.`, {
      code: "IDEMPOTENCY_KEY_REUSED",
    }),
  )

const isOf = (
  run: Run,
  target: { readonly kind: RunKind; readonly namespace: NamespaceName; readonly pipelineId: PipelineId | null },
): boolean => run.kind === target.kind && run.pipeline_id === target.pipelineId
