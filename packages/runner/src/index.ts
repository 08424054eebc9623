export * from "./claim/RunControl.ts"
export * from "./RunnerConfig.ts"
export * from "./RunnerRole.ts"
