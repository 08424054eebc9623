/**
 * What slot processes import (`@rat/lakehouse/slot`). Apart from `src/index.ts` because slots start often and must not
 * load what a node needs: importing effect alone costs more than DuckDB does.
 */
export * from "../engine/DuckDb.ts"
export * from "../engine/ForbiddenSql.ts"
export * from "../engine/Lockdown.ts"
export * from "../engine/ResultEncoder.ts"
export * from "../engine/SqlError.ts"
export * from "../engine/SqlTokens.ts"
export * from "../scan/SqlText.ts"
export * from "./SlotProtocol.ts"
export * from "./SlotServer.ts"
