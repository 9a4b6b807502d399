/**
 * Made from measurements: do not edit. From the figures of one run on two webcam clips (H264 by x264, VP8 by libvpx, AV1 by SVT-AV1; those
 * of VP9, of plain resizes and of screens are estimates from them) until `npm run bench:bits` has measured all of it.
 */

/**
 * @typedef {object} SendRow one curve: what comes out at the viewer's, against what bits were sent
 * @property {'camera' | 'screen'} content
 * @property {number} goal short side that results are compared at
 * @property {'AV1' | 'H264' | 'VP8' | 'VP9'} codec
 * @property {number} shortSide of the pictures sent
 * @property {number} framesPerSecond sent
 * @property {'resize' | 'mini' | 'nano' | 'nano-x2'} upscaler of the server; what is missing to the goal is resized
 * @property {(number | null)[]} psnrDb on Y, at `ratesBps`; null below what the encoder comes down to
 */

/** @type {{ratesBps: number[], rows: SendRow[]}} */
export const SEND_TABLE = {
  ratesBps: [30000, 40000, 60000, 80000, 100000, 150000, 200000, 300000, 400000, 600000, 800000, 1000000, 1500000],
  rows: [
    { content: 'camera', goal: 720, codec: 'AV1', shortSide: 180, framesPerSecond: 30, upscaler: 'mini', psnrDb: [29.4, 30.08, 30.84, 31.35, 31.75, 32.11, 32.36, 32.7, 32.7, 32.7, 32.7, 32.7, 32.7] },
    { content: 'camera', goal: 720, codec: 'AV1', shortSide: 180, framesPerSecond: 30, upscaler: 'nano', psnrDb: [29.6, 30.28, 31.04, 31.55, 31.95, 32.31, 32.56, 32.9, 32.9, 32.9, 32.9, 32.9, 32.9] },
    { content: 'camera', goal: 720, codec: 'AV1', shortSide: 180, framesPerSecond: 30, upscaler: 'resize', psnrDb: [28.4, 29.08, 29.84, 30.35, 30.75, 31.11, 31.36, 31.7, 31.7, 31.7, 31.7, 31.7, 31.7] },
    { content: 'camera', goal: 720, codec: 'AV1', shortSide: 360, framesPerSecond: 30, upscaler: 'nano-x2', psnrDb: [null, null, 32.31, 33.29, 34.05, 35.06, 35.78, 36.77, 37.07, 37.5, 37.5, 37.5, 37.5] },
    { content: 'camera', goal: 720, codec: 'AV1', shortSide: 360, framesPerSecond: 30, upscaler: 'resize', psnrDb: [null, null, 31.91, 32.89, 33.65, 34.66, 35.38, 36.37, 36.67, 37.1, 37.1, 37.1, 37.1] },
    { content: 'camera', goal: 720, codec: 'AV1', shortSide: 720, framesPerSecond: 30, upscaler: 'resize', psnrDb: [null, null, 31.65, 33.2, 34.4, 35.79, 36.77, 38.14, 38.83, 39.8, 40.33, 40.75, 41.5] },
    { content: 'camera', goal: 720, codec: 'H264', shortSide: 180, framesPerSecond: 30, upscaler: 'mini', psnrDb: [26.4, 27.9, 29.43, 30.52, 31.0, 31.61, 32.05, 32.45, 32.45, 32.45, 32.45, 32.45, 32.45] },
    { content: 'camera', goal: 720, codec: 'H264', shortSide: 180, framesPerSecond: 30, upscaler: 'nano', psnrDb: [26.6, 28.1, 29.63, 30.72, 31.2, 31.81, 32.25, 32.65, 32.65, 32.65, 32.65, 32.65, 32.65] },
    { content: 'camera', goal: 720, codec: 'H264', shortSide: 180, framesPerSecond: 30, upscaler: 'resize', psnrDb: [25.4, 26.9, 28.43, 29.52, 30.0, 30.61, 31.05, 31.45, 31.45, 31.45, 31.45, 31.45, 31.45] },
    { content: 'camera', goal: 720, codec: 'H264', shortSide: 360, framesPerSecond: 30, upscaler: 'nano-x2', psnrDb: [null, 26.85, 28.79, 30.16, 31.1, 32.71, 33.86, 35.09, 35.47, 36.0, 36, 36, 36] },
    { content: 'camera', goal: 720, codec: 'H264', shortSide: 360, framesPerSecond: 30, upscaler: 'resize', psnrDb: [null, 26.45, 28.39, 29.76, 30.7, 32.31, 33.46, 34.69, 35.07, 35.6, 35.6, 35.6, 35.6] },
    { content: 'camera', goal: 720, codec: 'H264', shortSide: 720, framesPerSecond: 30, upscaler: 'resize', psnrDb: [null, 24.1, 26.6, 28.38, 29.47, 31.26, 32.54, 34.3, 35.5, 37.2, 37.92, 38.48, 39.5] },
    { content: 'camera', goal: 720, codec: 'VP8', shortSide: 180, framesPerSecond: 30, upscaler: 'mini', psnrDb: [null, 29.4, 30.4, 30.86, 31.21, 31.85, 32.14, 32.55, 32.55, 32.55, 32.55, 32.55, 32.55] },
    { content: 'camera', goal: 720, codec: 'VP8', shortSide: 180, framesPerSecond: 30, upscaler: 'nano', psnrDb: [null, 29.6, 30.6, 31.06, 31.41, 32.05, 32.34, 32.75, 32.75, 32.75, 32.75, 32.75, 32.75] },
    { content: 'camera', goal: 720, codec: 'VP8', shortSide: 180, framesPerSecond: 30, upscaler: 'resize', psnrDb: [null, 28.4, 29.4, 29.86, 30.21, 30.85, 31.14, 31.55, 31.55, 31.55, 31.55, 31.55, 31.55] },
    { content: 'camera', goal: 720, codec: 'VP8', shortSide: 360, framesPerSecond: 30, upscaler: 'nano-x2', psnrDb: [null, null, null, null, 32.7, 34.1, 34.66, 35.45, 35.8, 36.3, 36.3, 36.3, 36.3] },
    { content: 'camera', goal: 720, codec: 'VP8', shortSide: 360, framesPerSecond: 30, upscaler: 'resize', psnrDb: [null, null, null, null, 32.3, 33.7, 34.26, 35.05, 35.4, 35.9, 35.9, 35.9, 35.9] },
    { content: 'camera', goal: 720, codec: 'VP8', shortSide: 720, framesPerSecond: 30, upscaler: 'resize', psnrDb: [null, null, null, null, null, null, null, 37.28, 38.0, 39.0, 39.63, 40.11, 41.0] },
    { content: 'camera', goal: 720, codec: 'VP9', shortSide: 180, framesPerSecond: 30, upscaler: 'mini', psnrDb: [null, null, 29.84, 30.35, 30.75, 31.11, 31.36, 31.7, 31.7, 31.7, 31.7, 31.7, 31.7] },
    { content: 'camera', goal: 720, codec: 'VP9', shortSide: 180, framesPerSecond: 30, upscaler: 'nano', psnrDb: [null, null, 30.04, 30.55, 30.95, 31.31, 31.56, 31.9, 31.9, 31.9, 31.9, 31.9, 31.9] },
    { content: 'camera', goal: 720, codec: 'VP9', shortSide: 180, framesPerSecond: 30, upscaler: 'resize', psnrDb: [null, null, 28.84, 29.35, 29.75, 30.11, 30.36, 30.7, 30.7, 30.7, 30.7, 30.7, 30.7] },
    { content: 'camera', goal: 720, codec: 'VP9', shortSide: 360, framesPerSecond: 30, upscaler: 'nano-x2', psnrDb: [null, null, 31.0, 32.15, 33.05, 34.06, 34.78, 35.77, 36.07, 36.5, 36.5, 36.5, 36.5] },
    { content: 'camera', goal: 720, codec: 'VP9', shortSide: 360, framesPerSecond: 30, upscaler: 'resize', psnrDb: [null, null, 30.6, 31.75, 32.65, 33.66, 34.38, 35.37, 35.67, 36.1, 36.1, 36.1, 36.1] },
    { content: 'camera', goal: 720, codec: 'VP9', shortSide: 720, framesPerSecond: 30, upscaler: 'resize', psnrDb: [null, null, null, null, null, 34.77, 35.76, 37.14, 37.83, 38.8, 39.33, 39.75, 40.5] },
    { content: 'screen', goal: 720, codec: 'AV1', shortSide: 180, framesPerSecond: 30, upscaler: 'resize', psnrDb: [28.4, 29.08, 29.84, 30.35, 30.75, 31.11, 31.36, 31.7, 31.7, 31.7, 31.7, 31.7, 31.7] },
    { content: 'screen', goal: 720, codec: 'AV1', shortSide: 360, framesPerSecond: 30, upscaler: 'resize', psnrDb: [null, null, 31.91, 32.89, 33.65, 34.66, 35.38, 36.37, 36.67, 37.1, 37.1, 37.1, 37.1] },
    { content: 'screen', goal: 720, codec: 'AV1', shortSide: 720, framesPerSecond: 30, upscaler: 'resize', psnrDb: [null, null, 31.65, 33.2, 34.4, 35.79, 36.77, 38.14, 38.83, 39.8, 40.33, 40.75, 41.5] },
    { content: 'screen', goal: 720, codec: 'H264', shortSide: 180, framesPerSecond: 30, upscaler: 'resize', psnrDb: [25.4, 26.9, 28.43, 29.52, 30.0, 30.61, 31.05, 31.45, 31.45, 31.45, 31.45, 31.45, 31.45] },
    { content: 'screen', goal: 720, codec: 'H264', shortSide: 360, framesPerSecond: 30, upscaler: 'resize', psnrDb: [null, 26.45, 28.39, 29.76, 30.7, 32.31, 33.46, 34.69, 35.07, 35.6, 35.6, 35.6, 35.6] },
    { content: 'screen', goal: 720, codec: 'H264', shortSide: 720, framesPerSecond: 30, upscaler: 'resize', psnrDb: [null, 24.1, 26.6, 28.38, 29.47, 31.26, 32.54, 34.3, 35.5, 37.2, 37.92, 38.48, 39.5] },
    { content: 'screen', goal: 720, codec: 'VP8', shortSide: 180, framesPerSecond: 30, upscaler: 'resize', psnrDb: [null, 28.4, 29.4, 29.86, 30.21, 30.85, 31.14, 31.55, 31.55, 31.55, 31.55, 31.55, 31.55] },
    { content: 'screen', goal: 720, codec: 'VP8', shortSide: 360, framesPerSecond: 30, upscaler: 'resize', psnrDb: [null, null, null, null, 32.3, 33.7, 34.26, 35.05, 35.4, 35.9, 35.9, 35.9, 35.9] },
    { content: 'screen', goal: 720, codec: 'VP8', shortSide: 720, framesPerSecond: 30, upscaler: 'resize', psnrDb: [null, null, null, null, null, null, null, 37.28, 38.0, 39.0, 39.63, 40.11, 41.0] },
    { content: 'screen', goal: 720, codec: 'VP9', shortSide: 180, framesPerSecond: 30, upscaler: 'resize', psnrDb: [null, null, 28.84, 29.35, 29.75, 30.11, 30.36, 30.7, 30.7, 30.7, 30.7, 30.7, 30.7] },
    { content: 'screen', goal: 720, codec: 'VP9', shortSide: 360, framesPerSecond: 30, upscaler: 'resize', psnrDb: [null, null, 30.6, 31.75, 32.65, 33.66, 34.38, 35.37, 35.67, 36.1, 36.1, 36.1, 36.1] },
    { content: 'screen', goal: 720, codec: 'VP9', shortSide: 720, framesPerSecond: 30, upscaler: 'resize', psnrDb: [null, null, null, null, null, 34.77, 35.76, 37.14, 37.83, 38.8, 39.33, 39.75, 40.5] },
  ],
};
