/** The official OpenAI client of a customer of his own, as the tests of its routes all want it. */
import OpenAI from 'openai';
import { SERVICE_KEY, type TestGateway } from './gateway.ts';

export function openaiFor(gateway: TestGateway, customer: string): OpenAI {
  gateway.stripe.addCustomer(customer);
  return new OpenAI({
    baseURL: `${gateway.url}/v1`,
    apiKey: SERVICE_KEY,
    maxRetries: 0,
    defaultHeaders: { 'x-stripe-customer-id': customer },
  });
}
