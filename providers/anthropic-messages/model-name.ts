/** The names of Claude's models: on the bill and in the catalogue with a dot in the version, at the vendor with a dash. */

/** `claude-sonnet-4.5`, `claude-3.5-haiku`: a family, and a version of two numbers from 3 on. Older ones have the dot at the vendor too. */
const DOTTED = /^(claude-(?:[a-z]+-)*(?:[3-9]|\d{2}))\.(\d{1,2})(?=-|@|$)/;
/** The families whose version stands first: undated they are known to the vendor as `-latest` only. */
const VERSION_FIRST = /^claude-\d+\.\d+-[a-z]+$/;

/** The name that the vendor's API knows a model by; any other name is kept. */
export function vendorName(model: string): string {
  if (!DOTTED.test(model)) return model;
  const name = model.replace(DOTTED, '$1-$2');
  return VERSION_FIRST.test(model) ? `${name}-latest` : name;
}
