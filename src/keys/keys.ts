/** API keys: who may call, and for which customer. */

/** Limits of one key; null is no limit. */
export interface KeyLimits {
  /** Requests per minute. */
  readonly rpm: number | null;
  /** Tokens per minute. */
  readonly tpm: number | null;
  /** Calls at once. */
  readonly concurrency: number | null;
}

export interface ApiKey {
  /** Public part of the secret; `env` for the service key given from outside. */
  readonly id: string;
  /** The customer a bound key stands for; null for a service key, which names the customer in a header. */
  readonly customer: string | null;
  readonly label: string;
  readonly createdAtMs: number;
  /** Its own limits; what is absent is the configuration's. */
  readonly limits?: Partial<KeyLimits>;
  /** When a rotated key stops working; null or absent when it does not. */
  readonly expiresAtMs?: number | null;
  readonly revokedAtMs: number | null;
  /** The secret's last four characters, to recognise it by. */
  readonly last4: string;
}

export interface Keys {
  /** The key a secret belongs to; undefined when it is unknown, malformed, expired or revoked. */
  find(secret: string): Promise<ApiKey | undefined>;
  create(wanted: {
    customer: string | null;
    label: string;
    limits?: Partial<KeyLimits>;
  }): Promise<{ key: ApiKey; secret: string }>;
  list(customer?: string): Promise<readonly ApiKey[]>;
  /** A new secret for the same customer; the old key stays valid until `overlapMs` from now. */
  rotate(id: string, overlapMs: number): Promise<{ key: ApiKey; secret: string } | undefined>;
  revoke(id: string): Promise<boolean>;
}
