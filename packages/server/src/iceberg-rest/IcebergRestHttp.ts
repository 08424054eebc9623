import { Rebase } from "@rat/lakehouse"
import { Cause, Effect, Layer } from "effect"
import { HttpRouter, type HttpServerRequest } from "effect/http"
import { pathOf } from "../http/FilePathRoute.ts"
import { makeAnswerResponse } from "./AnswerResponse.ts"
import { makeCatalogConfig } from "./CatalogConfig.ts"
import { makeCommitTable } from "./CommitTable.ts"
import { makeIdempotency } from "./Idempotency.ts"
import { MetadataBytes } from "./MetadataBytes.ts"
import { makeNamespaces } from "./Namespaces.ts"
import { makeRefScope } from "./RefScope.ts"
import { makeRemoteSigning } from "./RemoteSigning.ts"
import { RestAuth } from "./RestAuth.ts"
import { bodyText, jsonAnswer, parseBody, type RestAnswer, type RestCall } from "./RestCall.ts"
import { failureAnswer, type RestFailure, type RestProblem, refuse, restFailure, statusOfType } from "./RestFailure.ts"
import { findRoute, type RouteName } from "./RestRoute.ts"
import { makeScanPlanning } from "./ScanPlanning.ts"
import { makeTableCommitter } from "./TableCommitter.ts"
import { makeTableCreation } from "./TableCreation.ts"
import { makeTablePointers } from "./TablePointers.ts"
import { makeTables } from "./Tables.ts"
import { makeViewRepository } from "./ViewRepository.ts"
import { makeViews } from "./Views.ts"

/** Where the protocol lives on the server's port. */
const mount = "/iceberg"

type Operation = (call: RestCall) => Effect.Effect<RestAnswer, RestProblem>

/** Operations that change something: a request with an `Idempotency-Key` is carried out once. */
const changing = new Set<RouteName>([
  "createNamespace",
  "dropNamespace",
  "updateProperties",
  "createTable",
  "registerTable",
  "commitTable",
  "dropTable",
  "unregisterTable",
  "renameTable",
  "commitTransaction",
  "createView",
  "registerView",
  "replaceView",
  "dropView",
  "renameView",
])

/** Ways of access to files that a client says it can use, in one order, so that equal wishes have equal tags. */
const accessOf = (call: RestCall): ReadonlyArray<string> =>
  (call.headers["x-iceberg-access-delegation"] ?? "")
    .split(",")
    .map((each) => each.trim())
    .filter((each) => each === "vended-credentials" || each === "remote-signing")
    .sort()

const authorOf = (userAgent: string | undefined): string => {
  const client = (userAgent ?? "")
    .replaceAll(/[^ -~]/g, "")
    .slice(0, 100)
    .trim()
  return client === "" ? "iceberg-rest" : `iceberg-rest (${client})`
}

const makeOperations = Effect.gen(function* () {
  const refs = yield* makeRefScope
  const namespaces = yield* makeNamespaces(refs)
  const committer = yield* makeTableCommitter
  const views = yield* makeViewRepository
  const rooms = { refs, namespaces, committer, views }
  const pointers = yield* makeTablePointers(rooms)
  const tables = yield* makeTables({ ...rooms, pointers })
  const creation = yield* makeTableCreation({ ...rooms, pointers })
  const commits = yield* makeCommitTable({ ...rooms, pointers })
  const planning = yield* makeScanPlanning(pointers)
  const signing = yield* makeRemoteSigning(refs)
  const viewRoutes = yield* makeViews(rooms)
  const config = makeCatalogConfig(refs)
  const operations: { readonly [R in Exclude<RouteName, "getToken">]: Operation } = {
    getConfig: config,
    listNamespaces: namespaces.list,
    createNamespace: namespaces.create,
    loadNamespace: namespaces.load,
    namespaceExists: namespaces.exists,
    dropNamespace: namespaces.drop,
    updateProperties: namespaces.updateProperties,
    listTables: tables.list,
    createTable: (call) => creation.create(call, accessOf(call)),
    registerTable: (call) => creation.register(call, accessOf(call)),
    loadTable: (call) => tables.load(call, accessOf(call)),
    tableExists: tables.exists,
    commitTable: (call) => commits.one(call, accessOf(call)),
    dropTable: tables.drop,
    unregisterTable: tables.unregister,
    // Nothing is vended: without a token service credentials could not be narrowed to a table. Signing can.
    loadCredentials: (call) => Effect.as(pointers.required(call), jsonAnswer({ "storage-credentials": [] })),
    signRequest: signing.sign,
    reportMetrics: tables.reportMetrics,
    planScan: planning.plan,
    fetchPlan: planning.fetch,
    cancelPlan: planning.cancel,
    fetchTasks: planning.tasks,
    renameTable: tables.rename,
    commitTransaction: commits.transaction,
    listViews: viewRoutes.list,
    createView: viewRoutes.create,
    registerView: viewRoutes.register,
    loadView: viewRoutes.load,
    viewExists: viewRoutes.exists,
    replaceView: viewRoutes.replace,
    dropView: viewRoutes.drop,
    renameView: viewRoutes.rename,
  }
  return { operations, refs }
})

/** Failures of the server are logged where they become an answer; whatever else went wrong is the caller's and in the answer. */
const logged = (failure: RestFailure, cause: Cause.Cause<unknown>) =>
  statusOfType[failure.type] >= 500 ? Effect.logError("iceberg request failed", cause) : Effect.void

const makeHandler = Effect.gen(function* () {
  const { operations, refs } = yield* makeOperations
  const auth = yield* RestAuth
  const idempotency = yield* makeIdempotency
  const responses = yield* makeAnswerResponse

  const answer = Effect.fnUntraced(function* (request: HttpServerRequest.HttpServerRequest) {
    const { headers, method, url } = request
    const route = findRoute(method, pathOf(url).slice(mount.length))
    if ("miss" in route) {
      switch (route.miss) {
        case "unknown":
          return yield* refuse(
            "NotFoundException",
            `The Iceberg REST protocol has no ${method} ${pathOf(url).slice(0, 300)}.`,
          )
        case "method":
          return yield* refuse(
            "UnsupportedOperationException",
            `${method} is not possible there. Use ${route.allowed.join(", ")}.`,
          )
        case "escapes":
          return yield* refuse("BadRequestException", "The address has broken escapes.")
      }
    }
    if (route.name === "getToken") {
      return yield* auth.token(new URLSearchParams(yield* bodyText(request)), headers.authorization)
    }
    yield* auth.check(headers.authorization)
    const question = url.indexOf("?")
    const text = method === "POST" ? yield* bodyText(request) : ""
    const key = changing.has(route.name) ? (headers["idempotency-key"] ?? null) : null
    const call: RestCall = {
      ref: yield* refs.named(route.prefix),
      names: route.names,
      query: new URLSearchParams(question === -1 ? "" : url.slice(question)),
      headers,
      body: yield* parseBody(text),
      author: authorOf(headers["user-agent"]),
      idempotencyKey: key,
    }
    const work = operations[route.name](call)
    const done = key === null ? work : idempotency.once(key, { method, url, body: text }, work)
    return yield* responses.of(yield* done, headers["if-none-match"])
  })

  return Effect.fn("IcebergRest.answer")(function* (request: HttpServerRequest.HttpServerRequest) {
    const isHead = request.method === "HEAD"
    return yield* answer(request).pipe(
      Effect.catch((problem) => {
        const failure = restFailure(problem)
        return Effect.as(logged(failure, Cause.fail(problem)), failureAnswer(failure, isHead))
      }),
      Effect.catchDefect((defect) => {
        const failure = refuse("InternalServerError", "Something went wrong on the server. Its log has the details.")
        return Effect.as(logged(failure, Cause.die(defect)), failureAnswer(failure, isHead))
      }),
    )
  })
})

/** The Iceberg REST catalog protocol at `/iceberg/v1`, on main or, with a prefix, on any branch or tag. */
export const IcebergRestHttp = Layer.effectDiscard(
  Effect.gen(function* () {
    const router = yield* HttpRouter.HttpRouter
    const handler = yield* makeHandler
    yield* router.add("*", `${mount}/*`, (request) => handler(request))
  }),
).pipe(Layer.provide([RestAuth.layer, MetadataBytes.layer, Rebase.layer]))
