import { nearest } from "@rat/domain"

/**
 * Every setting of a node in one place: environment variable, flag, default, meaning. The rooms read their own settings
 * through `Config`; this table is what documentation, `--help` and the warning about unknown names are made of. A test
 * compares it with what the code reads.
 */
export interface Setting {
  readonly env: string
  /** Flag of `rat up`, where there is one; it wins over the variable. */
  readonly flag?: string
  /** As text, the way one would write it; "" for none. */
  readonly fallback: string
  readonly doc: string
}

const row = (env: string, fallback: string, doc: string, flag?: string): Setting => ({
  env,
  fallback,
  doc,
  ...(flag === undefined ? {} : { flag }),
})

export const settings: ReadonlyArray<Setting> = [
  // Where it is
  row("RAT_DATA", "./.rat", "Folder for everything that is kept: Postgres, objects, slots, cache.", "--data"),
  row(
    "RAT_LISTEN_ADDR",
    "127.0.0.1:8080",
    "Address of the HTTP server, HOST:PORT; port 0 takes a free one.",
    "--listen",
  ),
  row("PORT", "", "Listens on 0.0.0.0:PORT when RAT_LISTEN_ADDR is not set."),
  row("CORS_ORIGINS", "http://localhost:3000", "Origins whose pages may call the API, separated by commas; * for any."),
  row("RAT_UPLOAD_LIMIT", "32MiB", "Most bytes of one upload."),
  row("RAT_STOP_GRACE_SECONDS", "10", "How long requests that are being answered may take to finish at a stop."),
  row(
    "RAT_ROLES",
    "",
    "Roles of a node of a cluster, of api, control, runner and query, separated by commas.",
    "--roles",
  ),
  row(
    "RAT_RPC_ADDR",
    "127.0.0.1:0",
    "Address for other nodes, HOST:PORT; never the public one. Needs the cluster's key.",
  ),
  row(
    "RAT_RPC_ADVERTISE",
    "",
    "Host name or address under which other nodes reach this one, when it is not that of RAT_RPC_ADDR.",
  ),
  row(
    "RAT_DRAIN_NOTICE_SECONDS",
    "2",
    "How long a node of a cluster that stops goes on serving after /health/ready says so, for load balancers to notice.",
  ),
  row("RAT_LOG_FORMAT", "pretty on a terminal, json elsewhere", "How log lines look: pretty or json.", "--log-format"),
  row(
    "RAT_LOG_LEVEL",
    "warn on a terminal, info elsewhere",
    "Least severe lines that are logged: debug, info, warn or error.",
    "--log-level",
  ),
  row("RAT_GIT_COMMIT", "", "Shown by /health."),
  row("RAT_BUILD_TIME", "", "Shown by /health."),
  row(
    "RAT_ICEBERG_TOKEN",
    "",
    "Bearer token that clients of the Iceberg REST endpoint must show; without any it is open.",
  ),
  row(
    "RAT_ICEBERG_CREDENTIAL",
    "",
    "ID:SECRET for which the Iceberg REST endpoint gives out tokens that last an hour.",
  ),
  // Postgres
  row("DATABASE_URL", "", "Postgres to use; without it one runs in the data folder."),
  row("DB_MAX_CONNS", "25", "Most sessions that this node opens."),
  row("DB_MIN_CONNS", "5", "Sessions that are kept open when idle."),
  row("DB_MAX_CONN_LIFETIME", "1 hour", "A session is replaced after this."),
  row("DB_MAX_CONN_IDLE_TIME", "30 minutes", "A session above the minimum is closed after this."),
  row("DB_HEALTH_CHECK_PERIOD", "10 seconds", "Idle sessions and listeners are asked for a sign of life this often."),
  row("DB_CONNECT_TIMEOUT", "5 seconds", "Longest wait for a session, a new one or one that comes free."),
  row("DB_STATEMENT_TIMEOUT", "30 seconds", "Postgres cancels a statement of the server after this."),
  row("DB_IDLE_IN_TRANSACTION_TIMEOUT", "1 minute", "A transaction whose node hangs loses its locks after this."),
  // Calls to dependencies
  row(
    "RAT_OUTBOUND",
    "",
    "Other limits of calls to dependencies: DEPENDENCY.LIMIT=VALUE with commas between, such as `rpc.deadline=2 seconds,object_store.retries=5`. Dependencies are postgres, object_store, nessie, rpc and otlp; limits deadline, data_deadline (object_store), retries, first_delay, max_delay, failures_to_open, open_for and max_open_for.",
  ),
  // Catalog
  row(
    "RAT_CATALOG",
    "postgres",
    "Where branches and tables are kept: postgres, or nessie for a Nessie server that is there.",
  ),
  row("RAT_NESSIE_URL", "", "The Nessie server, http://HOST:PORT."),
  row("RAT_NESSIE_TOKEN", "", "Bearer token for the Nessie server."),
  row("RAT_NESSIE_TIMEOUT", "10 seconds", "Deadline of a try of a request to Nessie."),
  // Object store
  row("RAT_STORE", "store in the data folder", "Folder of the objects; nodes of a cluster without S3 share one."),
  row("S3_ENDPOINT", "", "S3 server, HOST:PORT or URL; without it and S3_BUCKET objects are files in the data folder."),
  row("S3_BUCKET", "rat", "Bucket for everything."),
  row("S3_ACCESS_KEY", "", "Access key."),
  row("S3_SECRET_KEY", "", "Secret key."),
  row("S3_SESSION_TOKEN", "", "Session token of temporary credentials."),
  row("S3_REGION", "us-east-1", "Region."),
  row("S3_USE_SSL", "false", "HTTPS for an endpoint that is given without a scheme."),
  row("S3_METADATA_TIMEOUT", "10 seconds", "Deadline of a try of small calls."),
  row("S3_DATA_TIMEOUT", "60 seconds", "Deadline of a try of calls that move data."),
  row("S3_CACHE_BYTES", "10737418240", "Room for local copies of objects."),
  // Queue and runs
  row("RAT_MAX_PENDING_PER_PIPELINE", "10", "Pending runs of one pipeline; one more is refused."),
  row("RAT_MAX_PENDING_PER_NAMESPACE", "1000", "Pending runs of one namespace; one more is refused."),
  row(
    "RAT_MAX_RUNNING_PER_NAMESPACE",
    "1000",
    "Runs of one namespace that execute at the same time, on all nodes together.",
  ),
  row("RAT_LEASE_SECONDS", "10", "A run whose runner is silent for this long goes to another one."),
  row("RAT_MAX_ATTEMPTS", "3", "Attempts of a run whose runners die."),
  row(
    "RAT_MAX_OUTAGE_RETRIES",
    "5",
    "Attempts that follow ones which waited in vain for the object store or the catalog; pauses grow to 30 s.",
  ),
  row("RAT_BRANCH_HOURS", "24", "How long the branch of a failed or cancelled run can be read."),
  row(
    "RAT_CATALOG_RETENTION_HOURS",
    "168",
    "How long older states of main can be restored and dropped tables brought back.",
  ),
  row("RAT_MAX_LOG_LINES", "10000", "Lines kept of one run's log."),
  row("RAT_RUNS_MAX_PER_PIPELINE", "100", "Finished runs kept of one pipeline."),
  row("RAT_RUNS_MAX_AGE_DAYS", "90", "Days a finished run is kept."),
  row("RAT_LOGS_MAX_AGE_DAYS", "30", "Days a run's log is kept."),
  row("RAT_ATTEMPTS_MAX_AGE_DAYS", "30", "Days the attempts before a run's last one are kept."),
  row("RAT_EVENTS_MAX_AGE_DAYS", "7", "Days an entry of the event log is kept."),
  row("RAT_EVENTS_MAX_ROWS", "10000000", "Entries of the event log that are kept; the oldest go first."),
  row("RAT_QUALITY_RESULTS_MAX_PER_TEST", "100", "Results kept of one quality test."),
  row("RAT_SOFT_DELETE_PURGE_DAYS", "30", "Days after which a deleted pipeline's row goes."),
  row("RAT_RETENTION_INTERVAL_MINUTES", "15", "How often old rows are removed."),
  row("RAT_STREAMS_PER_CLIENT", "10", "Open event streams (logs of runs, events) of one client address."),
  row("RAT_STREAMS_PER_NODE", "1000", "Open event streams of this node."),
  row("RAT_STREAM_MAX_LIFE", "30 minutes", "An event stream is closed after this; clients resume."),
  row("RAT_STREAM_HEARTBEAT", "15 seconds", "A silent event stream sends a comment this often."),
  row("RAT_RESPONSE_CACHE", "32MiB", "Memory for answers to GETs of what changes seldom."),
  // Runner
  row("RAT_RUNNER_SLOTS", "the number of processors, at least 2", "Runs that execute at the same time."),
  row("RAT_RUNNER_THREADS", "the number of processors, at most 4", "Threads of one run's engine."),
  row(
    "RAT_RUNNER_MEMORY_LIMIT",
    "half of the machine's memory for all slots, at most 2GiB each",
    "Memory of one run's engine.",
  ),
  row("RAT_RUNNER_SPILL_LIMIT", "10GiB", "Bytes that one run may spill to disk."),
  row(
    "RAT_RUNNER_PROCESS_MEMORY_LIMIT",
    "twice RAT_RUNNER_MEMORY_LIMIT and 512MiB",
    "Memory of one run's process; whoever goes over it is stopped at once.",
  ),
  row("RAT_RUNNER_CPU_LIMIT_SECONDS", "0", "Most processor time of one run, all threads together; 0 for no limit."),
  row(
    "RAT_RUNNER_DISK_LIMIT",
    "",
    "Most bytes of a run's temporary files and results that are not in the store yet; none when not set.",
  ),
  row("RAT_RUN_TIMEOUT_SECONDS", "3600", "Longest time of a run whose pipeline sets none."),
  row("QUALITY_TEST_TIMEOUT_SECS", "60", "Longest time of one quality test."),
  row("RAT_RUNNER_DRAIN_SECONDS", "10", "How long a node that stops waits for its runs."),
  row("RAT_RUN_LOG_MAX_LINES", "10000", "Lines kept of one attempt's log."),
  row("RAT_RUN_LOG_MAX_MESSAGE", "8192", "Characters kept of one log line."),
  // Slots, the processes that execute runs and queries
  row(
    "RAT_SLOT_WALL",
    "auto",
    "Operating system's wall around slots: auto (what the platform allows), off, or require (no start without).",
  ),
  row(
    "RAT_SLOT_SPARES",
    "1",
    "Processes of each role that are ready beyond its slots, to take a dead one's place at once.",
  ),
  row("RAT_SLOT_MAX_HOLDERS", "1000", "Runs or queries after which a process is replaced."),
  row("RAT_SLOT_MAX_AGE_MINUTES", "360", "Age at which a process is replaced."),
  row("RAT_SLOT_MAX_GROWTH", "512MiB", "Memory over that of its start that a process may keep between two holders."),
  // Maintenance
  row(
    "RAT_MAINTENANCE",
    "true",
    "Whether tables are compacted, snapshots expired and orphans removed without being asked.",
  ),
  row("RAT_MAINTENANCE_INTERVAL_SECONDS", "60", "How often is looked for tables whose time has come."),
  row("RAT_MAINTENANCE_CONCURRENCY", "1", "Tables of this node that are looked after at the same time."),
  row("RAT_MAINTENANCE_LEASE_SECONDS", "30", "Maintenance whose node is silent for this long begins anew."),
  row("RAT_MAINTENANCE_HISTORY_DAYS", "90", "Days a run of maintenance is kept."),
  row("RAT_MAINTENANCE_EVERY_COMMITS", "50", "Commits to a table after which it is due."),
  row("RAT_MAINTENANCE_EVERY_HOURS", "24", "Hours after which a table that changed at all is due."),
  row("RAT_TARGET_FILE_SIZE", "256MiB", "Size that compaction makes files of."),
  row("RAT_SNAPSHOT_MAX_AGE_HOURS", "120", "Hours a snapshot is kept in a table's history."),
  row("RAT_MIN_SNAPSHOTS", "10", "Newest snapshots that are kept whatever their age."),
  row(
    "RAT_ORPHAN_GRACE_HOURS",
    "24",
    "Hours that nothing has pointed to an object before it goes; longer than any run, query or foreign writer takes.",
  ),
  row("RAT_ORPHAN_INTERVAL_HOURS", "24", "Hours between two looks for objects that nothing points to."),
  // Query
  row("RAT_QUERY_SLOTS", "2", "Queries that execute at the same time."),
  row("RAT_QUERY_MAX_WAITING", "64", "Queries that may wait for a slot; one more is refused."),
  row("RAT_QUERY_THREADS", "the number of processors", "Threads of one query."),
  row("RAT_QUERY_MEMORY_LIMIT", "half of the machine's memory for all slots", "Memory of one query's engine."),
  row("RAT_QUERY_SPILL_LIMIT", "10GiB", "Bytes that one query may spill to disk, and the largest Parquet result."),
  row(
    "RAT_QUERY_PROCESS_MEMORY_LIMIT",
    "twice RAT_QUERY_MEMORY_LIMIT and 512MiB",
    "Memory of one query's process; whoever goes over it is stopped at once.",
  ),
  row("RAT_QUERY_CPU_LIMIT_SECONDS", "0", "Most processor time of one query, all threads together; 0 for no limit."),
  row("RAT_QUERY_DISK_LIMIT", "", "Most bytes of a query's temporary files and its Parquet result; none when not set."),
  row("RAT_QUERY_TIMEOUT_MS", "60000", "Longest time of one query, in milliseconds."),
]

/** `RAT_*` variables that nothing reads, with the nearest name that something does. Silence would hide typing errors. */
export const unknownSettings = (
  environment: Readonly<Record<string, string | undefined>>,
): ReadonlyArray<{ readonly name: string; readonly nearest: string | null }> => {
  const known = new Set(settings.map(({ env }) => env))
  return Object.keys(environment)
    .filter((name) => name.startsWith("RAT_") && !known.has(name))
    .sort()
    .map((name) => ({ name, nearest: nearest(name, known) }))
}
