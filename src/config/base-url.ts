/** Addresses the operator names: of providers and of Stripe. */

export type ParsedBaseUrl =
  | { readonly kind: 'ok'; /** No trailing slash. */ readonly baseUrl: string }
  | { readonly kind: 'invalid'; readonly message: string };

/** The message never repeats the address: a wrong one often has a credential in it. */
export function parseBaseUrl(text: string): ParsedBaseUrl {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    return invalid('must be an http:// or https:// address');
  }
  if (url.username !== '' || url.password !== '') {
    return invalid('must not contain a user name or password; give the credential as the API key');
  }
  if (text.includes('?') || text.includes('#')) return invalid('must not contain a query or a fragment');
  return { kind: 'ok', baseUrl: `${url.origin}${url.pathname}`.replace(/\/+$/, '') };
}

const invalid = (message: string): ParsedBaseUrl => ({ kind: 'invalid', message });
