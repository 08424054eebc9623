import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http"
import { Effect, type Scope } from "effect"
import { listenOnLoopback } from "./LoopbackServer.ts"

/** What happens to one request on its way to the server behind the proxy. */
export type Fault =
  | "pass"
  /** Never answered. */
  | "hang"
  /** The connection is cut before the server sees anything. */
  | "reset"
  /** The server does it, and the connection is cut instead of answering. */
  | "lose-answer"
  /** Half of the body, then the connection is cut. */
  | "truncate"
  /** One bit of the body is another. */
  | "corrupt"
  /** The body arrives a byte at a time and never ends. */
  | "trickle"
  /** As a server that honours `If-None-Match: *`, with the answer of the server behind for all the rest. */
  | "conditional"
  | { readonly status: number; readonly code: string }

export interface SeenRequest {
  readonly method: string
  /** Path and query. */
  readonly url: string
}

export interface FaultProxy {
  readonly url: string
  readonly seen: ReadonlyArray<SeenRequest>
  /** Decides over each request from now on; `nth` counts from 1 since the rule was set. */
  readonly rule: (decide: (request: SeenRequest, nth: number) => Fault) => void
}

interface Answer {
  readonly status: number
  readonly headers: IncomingMessage["headers"]
  readonly body: Buffer
}

const collect = async (message: IncomingMessage): Promise<Buffer> => {
  const chunks: Array<Buffer> = []
  for await (const chunk of message) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

const forward = (
  upstream: string,
  incoming: IncomingMessage,
  body: Buffer,
  method = incoming.method,
): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const outgoing = request(
      upstream + incoming.url,
      { method: method ?? "GET", headers: incoming.headers },
      (response) => {
        collect(response).then(
          (answer) => resolve({ status: response.statusCode ?? 500, headers: response.headers, body: answer }),
          reject,
        )
      },
    )
    outgoing.on("error", reject)
    outgoing.end(body)
  })

const refuse = (response: ServerResponse, status: number, code: string) =>
  response
    .writeHead(status, { "content-type": "application/xml" })
    .end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>injected</Message></Error>`)

const answerWith = (response: ServerResponse, { body, headers, status }: Answer, fault: Fault) => {
  response.writeHead(status, headers)
  if (fault === "truncate") {
    response.write(body.subarray(0, body.length / 2), () => response.destroy())
  } else if (fault === "trickle") {
    response.write(body.subarray(0, 1))
  } else if (fault === "corrupt" && body.length > 0) {
    const other = Buffer.from(body)
    other[body.length >> 1]! ^= 1
    response.end(other)
  } else response.end(body)
}

/** A real HTTP proxy on a free loopback port that breaks what the test tells it to break. */
export const makeFaultProxy = Effect.fnUntraced(function* (
  upstream: string,
): Effect.fn.Return<FaultProxy, never, Scope.Scope> {
  const seen: Array<SeenRequest> = []
  let decide: (request: SeenRequest, nth: number) => Fault = () => "pass"
  let nth = 0
  const handle = async (incoming: IncomingMessage, response: ServerResponse) => {
    const described = { method: incoming.method ?? "", url: incoming.url ?? "" }
    seen.push(described)
    nth += 1
    const fault = decide(described, nth)
    const body = await collect(incoming)
    if (typeof fault === "object") refuse(response, fault.status, fault.code)
    else if (fault === "reset") response.destroy()
    else if (fault === "hang") return
    else if (fault === "conditional" && incoming.method === "PUT" && incoming.headers["if-none-match"] === "*") {
      const found = await forward(
        upstream,
        { ...incoming, url: incoming.url, headers: {} } as IncomingMessage,
        Buffer.alloc(0),
        "HEAD",
      )
      if (found.status === 200) refuse(response, 412, "PreconditionFailed")
      else answerWith(response, await forward(upstream, incoming, body), fault)
    } else {
      const answer = await forward(upstream, incoming, body)
      if (fault === "lose-answer") response.destroy()
      else answerWith(response, answer, fault)
    }
  }
  const server = createServer((incoming, response) => {
    handle(incoming, response).catch(() => response.destroy())
  })
  return {
    url: yield* listenOnLoopback(server),
    seen,
    rule: (next) => {
      decide = next
      nth = 0
    },
  }
})
