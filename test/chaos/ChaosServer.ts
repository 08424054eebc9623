import { freePort, type RatProcess, startRat } from "../support/RatProcess.ts"
import { makeProcesses } from "./Processes.ts"

/** A server at one address that is ended and started again. */
export const startChaosServer = async (options: {
  readonly data: string
  readonly env: Readonly<Record<string, string>>
}) => {
  const port = await freePort()
  const start = () => startRat({ ...options, port })
  const processes = makeProcesses()
  let output = ""
  let rat: RatProcess = await start()
  const end = async (how: (rat: RatProcess) => Promise<unknown>) => {
    processes.look(rat.pid)
    await how(rat)
    output += rat.output()
  }

  return {
    url: rat.url,
    /** Process ids of the slots. */
    slots: () => processes.slots(rat.pid).map(({ pid }) => pid),
    end,
    restart: async (how: (rat: RatProcess) => Promise<unknown>) => {
      await end(how)
      rat = await start()
    },
    /** Everything that all of them printed, but for the running one. */
    output: () => output,
    /** Processes of all of them that are still alive. */
    left: processes.left,
  }
}

export type ChaosServer = Awaited<ReturnType<typeof startChaosServer>>
