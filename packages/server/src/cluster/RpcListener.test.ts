import { connect as connectPlain } from "node:net"
import { connect } from "node:tls"
import { assert, layer } from "@effect/vitest"
import { TestPostgres } from "@rat/lakehouse"
import { Effect, Layer, Redacted } from "effect"
import { migrations } from "../sql/migrations.ts"
import { ClusterKey } from "./ClusterKey.ts"
import { clientTls } from "./NodeTls.ts"
import { RpcListener, rpcProtocols } from "./RpcListener.ts"

const listener = RpcListener.layer({ listen: { host: "127.0.0.1", port: 0 }, advertise: null }).pipe(
  Layer.provideMerge(ClusterKey.layer),
  Layer.provideMerge(TestPostgres.layer(migrations)),
)

/** What becomes of a connection: the first bytes that come back, or why there are none. */
const attempt = (open: () => ReturnType<typeof connect> | ReturnType<typeof connectPlain>, event: string) =>
  Effect.callback<string>((resume) => {
    const socket = open()
    socket.once(event, () => socket.write("hello"))
    socket.once("data", (bytes) => resume(Effect.succeed(bytes.toString())))
    socket.once("error", (error) => resume(Effect.succeed(`refused: ${error.message}`)))
    socket.once("close", () => resume(Effect.succeed("closed")))
    return Effect.sync(() => socket.destroy())
  })

layer(listener, { excludeTestServices: true })("RpcListener", (it) => {
  it.effect("only who holds the cluster's key is heard, and only by the role that it asked for", () =>
    Effect.gen(function* () {
      const { port, serverOf } = yield* RpcListener
      const key = yield* ClusterKey
      const heard: Array<string> = []
      yield* serverOf("runner")
        .run((socket) =>
          Effect.gen(function* () {
            const { pull } = yield* socket.reader
            const write = yield* socket.writer
            const [chunk] = yield* pull
            heard.push(Buffer.from(chunk!).toString())
            yield* write.write("runner here")
          }).pipe(Effect.scoped),
        )
        .pipe(Effect.forkScoped({ startImmediately: true }))
      const speak = (secret: Redacted.Redacted<Buffer>, protocol: string) =>
        attempt(() => connect({ host: "127.0.0.1", port, ...clientTls(secret, protocol) }), "secureConnect")

      assert.strictEqual(yield* speak(key, rpcProtocols.runner), "runner here")
      assert.match(yield* speak(Redacted.make(Buffer.alloc(32, 7)), rpcProtocols.runner), /^refused/)
      assert.match(yield* speak(key, "rat-runner/0"), /^refused/)
      assert.match(yield* speak(key, rpcProtocols.query), /^(refused|closed)/, "this node has no such role")
      const plain = attempt(() => connectPlain(port, "127.0.0.1"), "connect")
      assert.match(yield* plain, /^(refused|closed)/)
      assert.deepStrictEqual(heard, ["hello"])
    }).pipe(Effect.scoped),
  )
})
