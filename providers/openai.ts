/** OpenAI. */
import { createOpenaiProvider } from './openai-dialect.ts';

export const openai = createOpenaiProvider('openai', { conversational: ['responses', 'chat.completions'] });
