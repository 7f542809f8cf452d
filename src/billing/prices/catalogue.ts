/** What the price catalogue knows of models besides their price: whose they are, and which a vendor has. */
import { findProvider } from '@pydantic/genai-prices';

/** Callers choose model names, so the memory of them is bounded. */
const REMEMBERED_MAX = 2_000;
const vendors = new Map<string, string | undefined>();

/** The vendor a bare model name belongs to: `openai`, `anthropic`, `google`, ...; undefined when nobody knows it. */
export function vendorOf(model: string): string | undefined {
  if (vendors.has(model)) return vendors.get(model);
  const vendor = findProvider({ modelId: model })?.id;
  if (vendors.size >= REMEMBERED_MAX) vendors.clear();
  vendors.set(model, vendor);
  return vendor;
}

/** The models the catalogue has of a vendor. */
export const modelsOf = (vendor: string): readonly string[] =>
  findProvider({ providerId: vendor })?.models.map(({ id }) => id) ?? [];
