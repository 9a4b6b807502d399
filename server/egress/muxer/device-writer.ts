import '../../codec/native.ts';
import { AVMEDIA_TYPE_VIDEO, AV_CODEC_ID_RAWVIDEO, AV_PIX_FMT_YUV420P } from 'node-av/constants';
import { FormatContext, Packet, Rational } from 'node-av/lib';
import { VIDEO_CLOCK_HZ } from '../../media/types.ts';
import { MuxError } from './container-writer.ts';

/** Takes planar 4:2:0 pictures of one size. */
export interface PictureSink {
  /** @param picture the three planes without padding; copied. @throws MuxError */
  write(picture: Buffer, mediaTime: number): void;
  /** Idempotent. */
  close(): void;
}

/**
 * A video device of Linux as something to write pictures to (V4L2 output, v4l2loopback): FFmpeg asks the device for the format and
 * writes. Every call blocks.
 */
export class DeviceWriter implements PictureSink {
  readonly #format = new FormatContext();
  readonly #packet = new Packet();
  #opened = false;
  #closed = false;

  /** @param device for example /dev/video10. @throws MuxError when it is not there, or no output */
  constructor(device: string, width: number, height: number) {
    this.#packet.alloc();
    try {
      this.#check('open', this.#format.allocOutputContext2(null, 'v4l2', device));
      const stream = this.#format.newStream(null);
      const { codecpar } = stream;
      codecpar.codecType = AVMEDIA_TYPE_VIDEO;
      codecpar.codecId = AV_CODEC_ID_RAWVIDEO;
      codecpar.format = AV_PIX_FMT_YUV420P;
      codecpar.width = width;
      codecpar.height = height;
      stream.timeBase = new Rational(1, VIDEO_CLOCK_HZ);
      this.#check('header', this.#format.writeHeaderSync(null));
      this.#opened = true;
    } catch (error) {
      this.close();
      throw error;
    }
  }

  write(picture: Buffer, mediaTime: number): void {
    const packet = this.#packet;
    packet.data = picture;
    packet.streamIndex = 0;
    packet.pts = packet.dts = BigInt(mediaTime);
    packet.isKeyframe = true;
    const code = this.#format.writeFrameSync(packet);
    packet.unref();
    this.#check('write', code);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#packet.free();
    // Which closes the device.
    if (this.#opened) this.#format.writeTrailerSync();
    this.#format.freeContext();
  }

  #check(step: MuxError['step'], code: number): void {
    if (code < 0) throw new MuxError(step, code);
  }
}
