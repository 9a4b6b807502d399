/**
 * What a peer may cost before it is authenticated. Each byte that arrives is read a constant number of times; memory of a
 * session in its handshake stays below 64 KiB; asymmetric operations are bounded by the number of attempts.
 */

/** More than any flight packs into one datagram; the rest of the datagram is dropped. */
export const MAX_RECORDS_PER_DATAGRAM = 32;
/** Plaintext limit of RFC 6347 section 4.1; a ciphertext adds at most nonce and tag. */
export const MAX_RECORD_PLAINTEXT_BYTES = 16_384;
export const MAX_RECORD_BYTES = MAX_RECORD_PLAINTEXT_BYTES + 24;
/** Handshake messages and fragments in one record. */
export const MAX_FRAGMENTS_PER_RECORD = 32;

/** A chain of one self-signed certificate takes 300 to 1500 bytes; an RSA one with intermediates below 8 KiB. */
export const MAX_CERTIFICATE_MESSAGE_BYTES = 8192;
export const MAX_CERTIFICATES = 8;
/** A ClientHello with post-quantum key shares takes about 2 KiB. */
export const MAX_CLIENT_HELLO_BYTES = 8192;
/** Every other message: signatures of RSA-8192 keys (1 KiB), lists of certificate authorities. */
export const MAX_OTHER_MESSAGE_BYTES = 4096;

/** Messages held back until earlier ones are complete; the longest flight has five. */
export const MAX_FUTURE_MESSAGES = 8;
/** Sum of the lengths that incomplete and held messages claim. */
export const MAX_BUFFERED_BYTES = 24_576;
/** Gaps in one incomplete message: a flight in 1200-byte datagrams never has as many. */
export const MAX_RANGES_PER_MESSAGE = 32;
/** Encrypted records that overtook the ChangeCipherSpec in front of them. */
export const MAX_EARLY_RECORDS = 8;
export const MAX_EARLY_RECORD_BYTES = 2048;

/** Handshakes begun by a server for one session: the first ClientHello and those that bring back a cookie. */
export const MAX_HANDSHAKES = 4;
/** HelloVerifyRequests: this many at once, then one each HELLO_VERIFY_INTERVAL_MS. */
export const HELLO_VERIFY_BURST = 16;
export const HELLO_VERIFY_INTERVAL_MS = 100;
/** HelloVerifyRequests that a client answers. */
export const MAX_COOKIES = 3;
/** Whole messages at their place that do not parse, or are not due, are dropped: a forged one costs a retransmission. */
export const MAX_DROPPED_MESSAGES = 4;
/** message_seq of a ClientHello: one more with each HelloVerifyRequest. */
export const MAX_HELLO_SEQUENCE = 64;

export const MIN_RSA_BITS = 2048;
export const MAX_RSA_BITS = 8192;

/** Datagrams of ours: fits every path that WebRTC media fits. */
export const MTU_BYTES = 1200;
/** RFC 6347 section 4.2.4.1 says 1 s and allows less where delay matters; ICE has already shown that the path works. */
export const FIRST_RETRANSMIT_MS = 250;
/**
 * The same where ICE has measured the round trip: twice that, within these bounds. FFmpeg's WHIP muxer reads the first
 * ClientHello as the sign to begin, and loses it: the second one decides how fast it connects.
 */
export const LEAST_FIRST_RETRANSMIT_MS = 50;
export const MOST_FIRST_RETRANSMIT_MS = 1000;
export const MAX_RETRANSMIT_MS = 60_000;
/** A repeated message of the peer makes us repeat our flight, at most this often. */
export const MIN_REPEAT_INTERVAL_MS = 100;
export const MAX_TRANSMISSIONS_PER_FLIGHT = 20;
export const HANDSHAKE_WITHIN_MS = 30_000;
/** An alert without authentication ends the handshake only if the handshake makes no progress for this long. */
export const UNAUTHENTICATED_ALERT_GRACE_MS = 4000;
