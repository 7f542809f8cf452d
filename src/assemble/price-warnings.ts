import { billedName } from '../billing/billed-model.ts';
import { pathText, type Problem, type Settings, unplaced } from '../config.ts';

/**
 * Prices that no call is ever charged by: of a model under the name that its provider knows it by, where it is billed under
 * another. The catalogue's price would hold, or none.
 */
export const priceWarnings = ({ prices, upstreams }: Settings): readonly Problem[] =>
  [...prices.keys()].flatMap((model) => {
    const slash = model.indexOf('/');
    const provider = model.slice(0, slash);
    const type = upstreams.find(({ name }) => name === provider)?.type;
    const billed = `${provider}/${billedName(type ?? '', model.slice(slash + 1))}`;
    return billed === model
      ? []
      : [
          unplaced(
            pathText(['prices', model]),
            `no call is charged by it, since the model is billed as ${billed}: write that name`,
          ),
        ];
  });
