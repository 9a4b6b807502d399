import type { ModelVariant } from '../../upscalers/spec.ts';

/** Where the published models are, and which files make one up (docs/models.md). */

/** The Hugging Face hub; HF_ENDPOINT names a mirror that speaks the same protocol. */
export const HUB_ENDPOINT = 'https://huggingface.co';
/** The fixed prompt embedding is in the code repository, not on the hub; FLASHVSR_PROMPT_URL or --prompt replace it. */
export const PROMPT_URL =
  'https://raw.githubusercontent.com/OpenImagingLab/FlashVSR/main/examples/WanVSR/prompt_tensor/posi_prompt.pth';

export type ModelPart = 'transformer' | 'projector' | 'decoder' | 'prompt' | 'wan';

export const OFFICIAL_FILES: Readonly<Record<ModelPart, string>> = {
  transformer: 'diffusion_pytorch_model_streaming_dmd.safetensors',
  projector: 'LQ_proj_in.ckpt',
  decoder: 'TCDecoder.ckpt',
  prompt: 'posi_prompt.pth',
  wan: 'Wan2.1_VAE.pth',
};

export const HUB_PARTS = ['transformer', 'projector', 'decoder'] as const satisfies readonly ModelPart[];

export interface PublishedModel {
  readonly name: string;
  readonly repository: string;
  readonly variant: ModelVariant;
  readonly licence: string;
}

export const PUBLISHED: readonly PublishedModel[] = [
  {
    name: 'flashvsr-v1.1',
    repository: 'JunhaoZhuang/FlashVSR-v1.1',
    variant: 'v1.1',
    licence: 'Apache-2.0',
  },
  { name: 'flashvsr-v1', repository: 'JunhaoZhuang/FlashVSR', variant: 'v1', licence: 'Apache-2.0' },
];
