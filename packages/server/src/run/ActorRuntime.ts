import { Layer } from "effect"
import { MessageStorage, RunnerHealth, RunnerStorage, Runners, Sharding, ShardingConfig } from "effect/cluster"

/**
 * The cluster of one process: every actor lives here. Messages are volatile, since the state of actors is in our rows,
 * so nothing is stored and no storage is polled. Times are short: an actor must be there when the first request is.
 */
const layerSingle: Layer.Layer<Sharding.Sharding> = Sharding.layer.pipe(
  Layer.provide(Runners.layerNoop),
  Layer.provide([MessageStorage.layerNoop, RunnerStorage.layerMemory, RunnerHealth.layerNoop]),
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
