/** Any vendor or server that speaks OpenAI's dialect at a base URL of its own. */
import { createOpenaiProvider } from './openai-dialect.ts';

export const openaiCompatible = createOpenaiProvider('openai-compatible');
