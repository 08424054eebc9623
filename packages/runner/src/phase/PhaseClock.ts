import { type Phase, PhaseTiming } from "@rat/domain"
import { Clock, Effect } from "effect"

const order: ReadonlyArray<Phase> = ["branch", "resolve", "execute", "write", "commit", "test", "publish"]

/** Which phase a run is in, and how long each took. Phases may overlap; one that is entered again adds up. */
export interface PhaseClock {
  /** The newest phase that was entered. */
  readonly current: () => Phase
  readonly timings: () => ReadonlyArray<PhaseTiming>
  /** Runs as part of a phase; with a span of its name. */
  readonly within: <A, E, R>(phase: Phase, effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

export const makePhaseClock = (onEnter: (phase: Phase) => void): PhaseClock => {
  const durations = new Map<Phase, number>()
  let current: Phase = "branch"
  return {
    current: () => current,
    timings: () =>
      order
        .filter((phase) => durations.has(phase))
        .map((name) => new PhaseTiming({ name, duration_ms: Math.round(durations.get(name)! * 1_000) / 1_000 })),
    within: (phase, effect) =>
      Effect.flatMap(Clock.currentTimeNanos, (start) => {
        if (order.indexOf(phase) >= order.indexOf(current)) {
          current = phase
          onEnter(phase)
        }
        return Effect.ensuring(
          effect,
          Effect.map(Clock.currentTimeNanos, (end) => {
            durations.set(phase, (durations.get(phase) ?? 0) + Number(end - start) / 1e6)
          }),
        )
      }).pipe(Effect.withSpan(`Run.${phase}`), Effect.annotateLogs({ phase })),
  }
}
