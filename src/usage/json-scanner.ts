/**
 * The strict scanner of a JSON object's top level: finds each member's value by byte offset, so that the gateway can
 * replace `model` and nothing else. Refuses what two parsers might read differently.
 */

export interface JsonMember {
  /** The decoded key. */
  readonly key: string;
  /** Byte offsets of the value, end exclusive. */
  readonly start: number;
  readonly end: number;
}

export interface JsonObjectScan {
  readonly members: ReadonlyMap<string, JsonMember>;
  /** Offset just past the opening brace: where a member can be inserted. */
  readonly insertAt: number;
}
