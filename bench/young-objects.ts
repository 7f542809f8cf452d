/** The room for young objects that `faregate start` gives itself: see bin/faregate.mjs. What is measured has it too. */
export const YOUNG_OBJECTS = '--max-semi-space-size=64';
