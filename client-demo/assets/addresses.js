import { withKey } from './access-key.js';
import { namePath } from './broadcast-name.js';

/** Addresses of one broadcast for programs and other sites, and the commands that use them. */

/** @param {string} name @param {string} [origin] */
export function whipUrl(name, origin = location.origin) {
  return `${origin}/whip/${namePath(name)}`;
}

/** @param {string} name @param {string} [origin] */
export function whepUrl(name, origin = location.origin) {
  return `${origin}/whep/${namePath(name)}`;
}

/**
 * The picture alone, one pixel on one pixel, for a browser source.
 * @param {string} name
 * @param {string} [origin]
 * @param {string} [key] of a link for viewers
 */
export function browserSourceUrl(name, origin = location.origin, key = undefined) {
  return withKey(`${origin}/watch/${namePath(name)}?embed=1&fit=pixel`, key);
}

/** @param {string} name @param {string} [origin] @param {string} [key] of a link for viewers */
export function embedCode(name, origin = location.origin, key = undefined) {
  const allow = 'autoplay; fullscreen; picture-in-picture';
  const source = withKey(`${origin}/watch/${namePath(name)}?embed=1`, key);
  return `<iframe src="${source}" width="640" height="360" allow="${allow}"></iframe>`;
}

/**
 * @typedef {object} ProgramSettings
 * @property {string} url the WHIP address
 * @property {string} token
 * @property {number} height lines that are sent
 * @property {number} maxBitrateBps
 */

/**
 * H264 as every version of the WHIP muxer takes it: 8-bit 4:2:0 without B-frames. A keyframe every two seconds, because FFmpeg
 * does not answer requests for one.
 * @param {ProgramSettings} settings
 */
export function ffmpegCommand({ url, token, height, maxBitrateBps }) {
  const rate = `${Math.round(maxBitrateBps / 1000)}k`;
  return [
    'ffmpeg -re -i INPUT.mp4',
    `-vf scale=-2:${height},fps=30 -c:v libx264 -preset veryfast -tune zerolatency -profile:v baseline -pix_fmt yuv420p -bf 0 -g 60`,
    `-b:v ${rate} -maxrate ${rate} -bufsize ${rate} -c:a libopus -ar 48000 -ac 2`,
    `-f whip -authorization ${token} "${url}"`,
  ].join(' ');
}

/** @param {ProgramSettings} settings */
export function gstreamerCommand({ url, token, height, maxBitrateBps }) {
  return [
    'gst-launch-1.0 -e filesrc location=INPUT.mp4 ! decodebin name=in',
    `whipclientsink name=whip signaller::whip-endpoint="${url}" signaller::auth-token="${token}"`,
    `in. ! queue ! videoconvert ! videoscale ! video/x-raw,height=${height},pixel-aspect-ratio=1/1`,
    `! x264enc tune=zerolatency bitrate=${Math.round(maxBitrateBps / 1000)} key-int-max=60 ! video/x-h264,profile=baseline ! h264parse ! whip.video_0`,
    'in. ! queue ! audioconvert ! audioresample ! whip.audio_0',
  ].join(' ');
}
