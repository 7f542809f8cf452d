/** OpenAI. */
import { createOpenaiProvider } from './openai-dialect.ts';

export const openai = createOpenaiProvider('openai', ['responses', 'chat.completions']);
