/** Settings of a FlashVSR spec that a test has no opinion about: the defaults of the configuration. */
export const FLASHVSR_SETTINGS = {
  scale: 4,
  sparseRatio: 2,
  localRange: 11,
  kvRatio: 3,
  seed: 0,
  colourMatch: 'adain',
  precision: 'bf16',
  decoder: 'tiny',
} as const;
