import { Effect, Layer } from "effect"
import { MessageStorage, RunnerHealth, RunnerStorage, Runners, Sharding, ShardingConfig } from "effect/cluster"

/**
 * Who is in the cluster: this process, until it ends. It does not leave at a stop, since nobody takes over from it, and a
 * cluster without a runner would be warned about while the actors end.
 */
const onlyRunner = Layer.effect(
  RunnerStorage.RunnerStorage,
  Effect.map(RunnerStorage.makeMemory, (memory) =>
    RunnerStorage.RunnerStorage.of({ ...memory, unregister: () => Effect.void }),
  ),
)

/**
 * The cluster of one process: every actor lives here. Messages are volatile, since the state of actors is in our rows,
 * so nothing is stored and no storage is polled. Times are short: an actor must be there when the first request is.
 */
const layerSingle: Layer.Layer<Sharding.Sharding> = Sharding.layer.pipe(
  Layer.provide(Runners.layerNoop),
  Layer.provide([MessageStorage.layerNoop, onlyRunner, RunnerHealth.layerNoop]),
  Layer.provide(
    ShardingConfig.layer({
      refreshAssignmentsInterval: "500 millis",
      shardLockRefreshInterval: "1 second",
      shardLockExpiration: "5 seconds",
      runnerHealthCheckInterval: "1 second",
      sendRetryInterval: "50 millis",
      entityTerminationTimeout: "5 seconds",
      // Messages stay in this process: encoding them only to decode them again would be most of their cost.
      simulateRemoteSerialization: false,
    }),
  ),
)

export const ActorRuntime = { layerSingle }
