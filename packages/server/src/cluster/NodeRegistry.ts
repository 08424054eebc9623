import { PgClient, PgConnection } from "@effect/sql-pg"
import type { NodeStatus } from "@rat/domain"
import { untilReconnected } from "@rat/lakehouse"
import { Context, Deferred, Duration, Effect, Layer, Queue } from "effect"
import type { SqlError } from "effect/sql"
import { toJsonb } from "../sql/Jsonb.ts"
import { migrations } from "../sql/migrations.ts"
import { NodeIdentity } from "./NodeIdentity.ts"
import type { NodeLoad, NodeRow } from "./NodeRow.ts"
import { RpcListener } from "./RpcListener.ts"

/** First number of the advisory locks that say which node lives; the second is `node.number`. */
export const lifeLocks = 7_246

const channel = "rat_node"

/** Also how old the picture of the others can be when a notice is lost. */
const heartbeat = Duration.seconds(2)
/** Nobody waits for the heartbeat of a node that is alone. */
const heartbeatAlone = Duration.seconds(30)
/** Without a heartbeat for this long a node gets no work: five were missed. */
const silentAfter = Duration.seconds(10)

/**
 * The nodes of the cluster, found through Postgres. Each writes its own row, and holds a session with an advisory lock:
 * Postgres lets go of the lock in the moment in which the process or its connection is gone, which is how others learn of
 * a kill at once. A heartbeat says what a session cannot: that the process also gets to work. The picture of the others is
 * kept in memory, refreshed with the heartbeat and by notices.
 */
export class NodeRegistry extends Context.Service<
  NodeRegistry,
  {
    /** Everybody, ourselves included, as far as known. Costs nothing. */
    readonly nodes: Effect.Effect<ReadonlyArray<NodeRow>>
    /** Our row's number: unique among the nodes that live. */
    readonly number: bigint
    /** From now on others send work to us; `url` is where we answer HTTP. */
    readonly announce: (url: string) => Effect.Effect<void, SqlError.SqlError>
    /** From now on others send no work to us. */
    readonly drain: Effect.Effect<void>
    /** What the next heartbeats tell. */
    readonly report: (load: Effect.Effect<Partial<NodeLoad>>) => Effect.Effect<void>
    /** Looks at the rows now, and tells the others to do so. */
    readonly refresh: Effect.Effect<void, SqlError.SqlError>
    /** Since when our own session lives, by the monotonic clock in ms; null while there is none. */
    readonly sessionSince: Effect.Effect<number | null>
  }
>()("rat/server/cluster/NodeRegistry") {
  static readonly layer = Layer.effect(
    NodeRegistry,
    Effect.gen(function* () {
      const sql = yield* PgClient.PgClient
      const self = yield* NodeIdentity
      const listener = self.isClustered ? yield* RpcListener : null

      let status: NodeStatus = "draining"
      let url = ""
      let rows: ReadonlyArray<NodeRow> = []
      let sessionSince: number | null = null
      const loads: Array<Effect.Effect<Partial<NodeLoad>>> = []

      /** Ours for as long as we live, whatever becomes of the row. */
      const [{ number }] = (yield* sql`select nextval('node_number') as number`) as unknown as readonly [
        { readonly number: bigint },
      ]
      const register = sql`
        insert into node (id, number, roles, status, version, schema_version, url, rpc_host, rpc_port)
        values (
          ${self.id}, ${number}, array(select jsonb_array_elements_text(${toJsonb(self.roles)}::jsonb)), ${status}, ${self.version},
          ${migrations.at(-1)!.id}, ${url}, ${listener?.host ?? null}, ${listener?.port ?? null})
        on conflict (id) do update set heartbeat_at = now()`

      const beat = Effect.gen(function* () {
        const parts = yield* Effect.forEach(loads, (load) => load)
        const load = toJsonb(Object.assign({}, ...parts))
        return yield* sql<NodeRow>`
          with mine as (
            update node
            set heartbeat_at = now(), status = ${status}, url = ${url}, load = ${load}::jsonb
            where id = ${self.id}
            returning *
          ),
          everybody as (
            select * from mine
            union all
            select * from node where id <> ${self.id}
          )
          select
            id, number, roles, status, version, schema_version, url, rpc_host, rpc_port, load, started_at, heartbeat_at,
            heartbeat_at < now() - make_interval(secs => ${Duration.toSeconds(silentAfter)}::integer) as is_silent
          from everybody
          order by number`
      }).pipe(Effect.withTracerEnabled(false))

      const look = Effect.gen(function* () {
        let found = yield* beat
        if (!found.some(({ id }) => id === self.id)) {
          // Others took us for dead, and what we had in hand is theirs now. We go on as a node without work.
          yield* register
          yield* Effect.logWarning("This node was taken for dead and joins again")
          found = yield* beat
        }
        rows = found
      })

      const notify = sql.notify(channel, self.id)
      const isAlive = yield* Deferred.make<void>()

      /** Our life as others see it. Ends when the session does. */
      const live = Effect.gen(function* () {
        const session = yield* PgConnection.make({ ...sql.config, multiplex: false })
        const pinned = yield* session.pin
        const notices = yield* pinned.listen(channel)
        const take = Effect.map(
          pinned.query("select pg_try_advisory_lock($1, $2::integer) as held", [lifeLocks, Number(number)]),
          ({ rows: [row] }) => row!.held === true,
        )
        // The lock of an earlier session of ours that Postgres does not know to be gone shows the same: that we live.
        if (!(yield* take)) {
          yield* take.pipe(
            Effect.delay("1 second"),
            Effect.repeat({ until: (isHeld) => isHeld }),
            Effect.ignore,
            Effect.forkScoped,
          )
        }
        sessionSince = performance.now()
        yield* register
        yield* look
        yield* Deferred.succeed(isAlive, undefined)
        for (;;) {
          const { payload } = yield* Queue.take(notices)
          if (payload !== self.id) yield* look
        }
      }).pipe(
        Effect.scoped,
        Effect.ensuring(
          Effect.sync(() => {
            sessionSince = null
          }),
        ),
        Effect.tapError((error) =>
          Effect.logWarning("The session that shows that this node lives was lost; reconnecting", error),
        ),
        Effect.retry(untilReconnected),
      )
      // Leaving is told: nobody has to find out.
      yield* Effect.addFinalizer(() =>
        Effect.ignore(Effect.timeout(Effect.andThen(sql`delete from node where id = ${self.id}`, notify), "2 seconds")),
      )
      yield* Effect.forkScoped(live)
      // Nothing of this node begins before others can see that it lives: they would take back what it claims.
      yield* Deferred.await(isAlive)
      yield* look.pipe(
        Effect.catch((error) => Effect.logDebug("The heartbeat was not written", error)),
        Effect.delay(self.isClustered ? heartbeat : heartbeatAlone),
        Effect.forever,
        Effect.forkScoped,
      )

      const tell = Effect.andThen(look, notify)
      return NodeRegistry.of({
        nodes: Effect.sync(() => rows),
        number,
        announce: (address) =>
          Effect.suspend(() => {
            status = "ready"
            url = address
            return tell
          }),
        drain: Effect.suspend(() => {
          status = "draining"
          return Effect.ignore(Effect.timeout(tell, "2 seconds"))
        }),
        report: (load) => Effect.sync(() => void loads.push(load)),
        refresh: tell,
        sessionSince: Effect.sync(() => sessionSince),
      })
    }),
  )
}
