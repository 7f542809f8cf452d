/** How a model is named on the bill, after the provider's name and the slash: as Stripe names it. Pure. */

/**
 * `providerType` is the configuration's `type`: the vendor whose naming rule holds. The model is named as the provider
 * knows it; under a type without a rule of its own, openai-compatible for one, it keeps that name.
 */
export function billedName(providerType: string, model: string): string {
  switch (providerType) {
    case 'anthropic':
      return anthropicName(model);
    case 'openai':
      return openaiName(model);
    case 'google':
      return model.replace(/^models\//, '');
    default:
      return model;
  }
}

/**
 * Dates (`-20250929`, Vertex's `@20250929`) and `-latest` go, version dashes become dots.
 */
function anthropicName(model: string): string {
  if (!model.startsWith('claude-')) return model;
  return model.replace(/(?:[-@]20\d{6}|-latest)$/, '').replace(/-(\d{1,2})-(\d{1,2})(?=-|$)/, '-$1.$2');
}

/** Snapshots whose price is not that of the undated name, by OpenAI's price list: their date stays. */
const DATED_PRICES: ReadonlySet<string> = new Set([
  'gpt-4o-2024-05-13',
  'gpt-4o-audio-preview-2024-10-01',
  'gpt-4o-realtime-preview-2024-10-01',
  'gpt-3.5-turbo-0301',
  'gpt-3.5-turbo-0613',
  'gpt-3.5-turbo-1106',
]);

/** `-2024-07-18`, and the month and day of the years before. A fine-tune (`ft:…`) has its own price and keeps its name. */
function openaiName(model: string): string {
  if (DATED_PRICES.has(model) || model.startsWith('ft:')) return model;
  const undated = model.replace(/-20\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])$/, '');
  if (undated !== model || !/^gpt-(?:3\.5|4)/.test(model)) return undated;
  return model.replace(/-(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])$/, '');
}
