import { hkdfSync, randomBytes } from 'node:crypto';
import type net from 'node:net';
import tls from 'node:tls';
import { TransportError } from './errors.js';

/**
 * What all machines of a cluster know and nobody else. Links use it as the pre-shared key of TLS 1.3 with an ephemeral
 * key exchange (RFC 8446, psk_dhe_ke): both sides prove that they know it before a byte of the protocol is read, nothing
 * that was recorded can be replayed, and a secret that leaks later does not open what was recorded before.
 */
export interface ClusterSecret {
  /** 32 bytes. */
  readonly key: Buffer;
}

/** Fewer characters could be guessed. */
const shortestSecret = 20;
const identity = 'daisychain';

/** The only suite that goes with the key's hash, and the fastest. */
const settings = {
  minVersion: 'TLSv1.3',
  maxVersion: 'TLSv1.3',
  ciphers: 'TLS_AES_128_GCM_SHA256:PSK',
} as const;

/** One for all connections: making it costs more than a handshake. */
const acceptingContext = tls.createSecureContext(settings);

/** A fresh secret as text: 256 random bits. */
export function newSecretText(): string {
  return randomBytes(32).toString('base64url');
}

/** Derives the key (HKDF, RFC 5869). @throws TransportError 'secret' when the text is too short to be one. */
export function secretFromText(text: string): ClusterSecret {
  const trimmed = text.trim();
  if (trimmed.length < shortestSecret)
    throw new TransportError(
      'secret',
      `the cluster secret has ${trimmed.length} characters, fewer than ${shortestSecret}: make one with "daisychain secret new"`,
    );
  return { key: Buffer.from(hkdfSync('sha256', trimmed, '', 'daisychain link key', 32)) };
}

/**
 * Encrypts the dialling side of a connection.
 * @throws TransportError 'secret' when the other side knows another secret or none
 */
export function secureDialled(
  socket: net.Socket,
  secret: ClusterSecret,
  peer: string,
): Promise<tls.TLSSocket> {
  const secured = tls.connect({
    ...settings,
    socket,
    pskCallback: () => ({ psk: secret.key, identity }),
    // The key proves who the peer is; there are no certificates.
    checkServerIdentity: () => undefined,
  });
  return established(secured, 'secureConnect', (code) =>
    code === 'ERR_SSL_WRONG_VERSION_NUMBER' || code === 'ERR_SSL_PACKET_LENGTH_TOO_LONG'
      ? `${peer} does not encrypt: start it with the cluster secret, or use --insecure on both sides if the network is yours alone`
      : `${peer} has another cluster secret, or none: give all machines the same one`,
  );
}

/** Encrypts the listening side. @throws TransportError 'secret' when the peer does not know the secret */
export function secureAccepted(
  socket: net.Socket,
  secret: ClusterSecret,
  peer: string,
): Promise<tls.TLSSocket> {
  const secured = new tls.TLSSocket(socket, {
    ...settings,
    isServer: true,
    secureContext: acceptingContext,
    pskCallback: (_: tls.TLSSocket, name: string) => (name === identity ? secret.key : null),
    // The type of the options lacks the callback, which Node takes here as everywhere.
  } as tls.TLSSocketOptions);
  return established(secured, 'secure', () => `${peer} does not know the cluster secret`);
}

function established(
  secured: tls.TLSSocket,
  event: 'secure' | 'secureConnect',
  explain: (code: string | undefined) => string,
): Promise<tls.TLSSocket> {
  return new Promise((resolve, reject) => {
    // The handler stays: whatever happens to the socket later must not be thrown.
    secured.on('error', (error: NodeJS.ErrnoException) => {
      reject(new TransportError('secret', explain(error.code)));
      secured.destroy();
    });
    secured.once('close', () => reject(new TransportError('secret', explain(undefined))));
    secured.once(event, () => resolve(secured));
  });
}
