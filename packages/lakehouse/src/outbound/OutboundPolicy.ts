import { Config, Duration, Effect, Option, Schema } from "effect"

/** What this process calls that is not part of it. */
export const dependencyNames = ["postgres", "object_store", "nessie", "rpc", "otlp"] as const
export type DependencyName = (typeof dependencyNames)[number]

/** Limits of calls to one dependency. */
export interface OutboundPolicy {
  /** Of each try. */
  readonly deadline: Duration.Duration
  /** Further tries of a call that failed in a way which heals by itself. */
  readonly retries: number
  /** Wait before the second try; doubles with each further one, with jitter. */
  readonly firstDelay: Duration.Duration
  /** Longest wait between two tries. */
  readonly maxDelay: Duration.Duration
  /** Calls (not tries) in a row without an answer that open the circuit. */
  readonly failuresToOpen: number
  /** How long an open circuit refuses calls before one may try; doubles while the dependency stays away. */
  readonly openFor: Duration.Duration
  /** Longest time between two such tries. */
  readonly maxOpenFor: Duration.Duration
}

export interface StorePolicy extends OutboundPolicy {
  /** Of each try that carries the bytes of an object, or of a part of it. */
  readonly dataDeadline: Duration.Duration
}

export type OutboundPolicies = { readonly [Name in Exclude<DependencyName, "object_store">]: OutboundPolicy } & {
  readonly object_store: StorePolicy
}

const { seconds, millis } = Duration

/**
 * The one table of limits. RAT_OUTBOUND changes single ones. Deadlines of the object store and of Nessie have settings of
 * their own (S3_METADATA_TIMEOUT, S3_DATA_TIMEOUT, RAT_NESSIE_TIMEOUT), and so has the collector's (OTEL_EXPORTER_OTLP_TIMEOUT).
 */
export const defaultPolicies: OutboundPolicies = {
  // `deadline` is that of a sign of life. A statement may take DB_STATEMENT_TIMEOUT and this much for its way.
  // The circuit is tried again quickly: service has to be back within two seconds of Postgres.
  postgres: {
    deadline: seconds(2),
    retries: 4,
    firstDelay: millis(50),
    maxDelay: millis(500),
    failuresToOpen: 5,
    openFor: millis(100),
    maxOpenFor: millis(500),
  },
  object_store: {
    deadline: seconds(10),
    dataDeadline: seconds(60),
    retries: 3,
    firstDelay: millis(100),
    maxDelay: seconds(5),
    failuresToOpen: 5,
    openFor: seconds(1),
    maxOpenFor: seconds(5),
  },
  nessie: {
    deadline: seconds(10),
    retries: 4,
    firstDelay: millis(100),
    maxDelay: seconds(5),
    failuresToOpen: 5,
    openFor: seconds(1),
    maxOpenFor: seconds(5),
  },
  // Another node: either it answers at once or it is gone and the call belongs to a different one.
  rpc: {
    deadline: seconds(5),
    retries: 2,
    firstDelay: millis(50),
    maxDelay: seconds(1),
    failuresToOpen: 3,
    openFor: millis(250),
    maxOpenFor: seconds(2),
  },
  // Telemetry may get lost; it may not cost anything when the collector is away. The exporter has retries of its own.
  otlp: {
    deadline: seconds(10),
    retries: 0,
    firstDelay: millis(500),
    maxDelay: seconds(5),
    failuresToOpen: 3,
    openFor: seconds(5),
    maxOpenFor: seconds(60),
  },
}

/** RAT_OUTBOUND names a dependency or a limit that does not exist, or a value that does not fit. */
export class OutboundMisconfigured extends Schema.TaggedError<OutboundMisconfigured>()("OutboundMisconfigured", {
  part: Schema.String,
  reason: Schema.String,
}) {
  override get message() {
    return `RAT_OUTBOUND cannot be used: "${this.part}" ${this.reason}. Write it as DEPENDENCY.LIMIT=VALUE, several of them with commas between, for example \`rpc.deadline=2 seconds,object_store.retries=5\`.`
  }
}

const fields = {
  deadline: "deadline",
  data_deadline: "dataDeadline",
  retries: "retries",
  first_delay: "firstDelay",
  max_delay: "maxDelay",
  failures_to_open: "failuresToOpen",
  open_for: "openFor",
  max_open_for: "maxOpenFor",
} as const satisfies Readonly<Record<string, keyof StorePolicy>>

const isCount = (field: keyof StorePolicy) => field === "retries" || field === "failuresToOpen"

const limitsOf = (name: DependencyName) =>
  Object.entries(fields).flatMap(([limit, field]) => (field in defaultPolicies[name] ? [limit] : []))

const isDependency = (name: string): name is DependencyName => dependencyNames.some((known) => known === name)

const valueOf = (field: keyof StorePolicy, text: string): Duration.Duration | number | undefined => {
  if (isCount(field)) {
    const least = field === "retries" ? 0 : 1
    return /^\d{1,4}$/.test(text) && Number(text) >= least ? Number(text) : undefined
  }
  const duration = Option.getOrUndefined(Duration.fromInput(text as Duration.Input))
  return duration !== undefined && Duration.isFinite(duration) && Duration.isPositive(duration) ? duration : undefined
}

/** The table with the changes of `text`: `rpc.deadline=2 seconds,object_store.retries=5`. */
export const parsePolicies = Effect.fnUntraced(function* (
  text: string,
): Effect.fn.Return<OutboundPolicies, OutboundMisconfigured> {
  const policies = { ...defaultPolicies }
  for (const part of text.split(",").flatMap((each) => (each.trim() === "" ? [] : [each.trim()]))) {
    const refuse = (reason: string) => new OutboundMisconfigured({ part, reason })
    const [, name = "", limit = "", value = ""] = /^([a-z_]+)\.([a-z_]+)\s*=\s*(.+)$/.exec(part) ?? []
    if (name === "") return yield* refuse("has no such shape")
    if (!isDependency(name)) return yield* refuse(`names no dependency (they are ${dependencyNames.join(", ")})`)
    if (!(limit in fields) || !(fields[limit as keyof typeof fields] in defaultPolicies[name])) {
      return yield* refuse(`names no limit of it (they are ${limitsOf(name).join(", ")})`)
    }
    const field = fields[limit as keyof typeof fields]
    const parsed = valueOf(field, value)
    if (parsed === undefined) {
      return yield* refuse(isCount(field) ? "needs a number" : "needs a duration")
    }
    Object.assign(policies, { [name]: { ...policies[name], [field]: parsed } })
  }
  return policies
})

export const policiesFromConfig: Effect.Effect<OutboundPolicies, OutboundMisconfigured | Config.ConfigError> =
  Effect.flatMap(Config.String("RAT_OUTBOUND").pipe(Config.withDefault("")), parsePolicies)
