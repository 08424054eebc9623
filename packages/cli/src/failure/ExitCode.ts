/** What a command's end means to the shell. The same for every command. */
export const ExitCode = {
  done: 0,
  /** The thing itself failed: a run, a quality test, a validation. */
  failed: 1,
  /** Wrong usage: unknown command or flag, missing argument. */
  usage: 2,
  notFound: 3,
  /** Not allowed, or not logged in. */
  notAllowed: 4,
  /** Conflict, or refused by a limit. */
  refused: 5,
  /** No server there, or no answer in time. */
  unreachable: 6,
  interrupted: 130,
} as const
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode]
