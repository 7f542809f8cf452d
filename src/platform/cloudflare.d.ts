/** The part of the Workers runtime that is used, named here so that its global types do not mix with Node's. */
declare module 'cloudflare:workers' {
  import type { DurableStorage } from './durable-sqlite.ts';

  export interface DurableObjectId {
    equals(other: DurableObjectId): boolean;
  }
  export interface DurableObjectState {
    readonly id: DurableObjectId;
    readonly storage: DurableStorage & { setAlarm(atMs: number): Promise<void> };
    waitUntil(work: Promise<unknown>): void;
    blockConcurrencyWhile(work: () => Promise<void>): Promise<void>;
  }
  export interface DurableObjectNamespace<Remote> {
    idFromName(name: string): DurableObjectId;
    /** A stub: each of the object's methods, answered by a promise. */
    get(id: DurableObjectId): Remote;
  }
  export abstract class DurableObject<Env> {
    protected readonly ctx: DurableObjectState;
    protected readonly env: Env;
    constructor(ctx: DurableObjectState, env: Env);
  }
}
