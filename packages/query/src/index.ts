export * from "./limit/QueryConfig.ts"
export * from "./QueryRole.ts"
