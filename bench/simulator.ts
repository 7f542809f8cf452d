/** Stripe's stand-in in a process of its own, so that its CPU and memory are not counted: says its address, then its sums when asked. */
import { createStripeSimulator } from '../src/simulator/stripe.ts';

const [eventName = 'token-billing-tokens', customers = '1'] = process.argv.slice(2);
const simulator = createStripeSimulator({ now: Date.now, webhookSecret: 'whsec_of_the_backlog' });
await simulator.listen();
simulator.addMeter(eventName, ['model', 'token_type']);
for (let at = 0; at < Number(customers); at += 1) simulator.addCustomer(`cus_${String(at)}`);
process.on('message', () => {
  const sums = simulator
    .sums()
    .map(({ customer, dimensions, value }) => [`${customer} ${dimensions['token_type'] ?? ''}`, value]);
  const [late] = simulator.reportMeterErrors();
  if (late !== undefined) console.error(JSON.stringify(late.data).slice(0, 500));
  process.send?.({ sums, events: simulator.world.accepted.length, cpu: process.cpuUsage() });
});
process.on('disconnect', () => process.exit());
process.send?.({ url: simulator.url });
