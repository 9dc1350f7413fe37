// An OpenID provider that is none of our code, on a free port of this machine. It prints
// its issuer as one line of JSON, rotates its keys when told so, and ends with its
// standard input. It keeps everything in memory, and anybody may log in as anybody.
//
// usage: node provider.mjs DIRECTORY, where npm has installed the package oidc-provider
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { createRequire } from 'node:module';
import { generateKeyPairSync } from 'node:crypto';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const directory = process.argv[2];
const entry = createRequire(join(directory, 'x.js')).resolve('oidc-provider');
const { default: Provider } = await import(pathToFileURL(entry));

const newKey = (kid, type, options, alg) => ({
  ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }), kid, alg, use: 'sig',
});
const newKeys = (n) => [
  newKey(`rsa-${n}`, 'rsa', { modulusLength: 2048 }, 'RS256'),
  newKey(`ec-${n}`, 'ec', { namedCurve: 'P-256' }, 'ES256'),
];

const server = createServer((req, res) => handle(req, res));
let handle;
await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
const issuer = `http://127.0.0.1:${server.address().port}`;

function start(n) {
  const provider = new Provider(issuer, {
    jwks: { keys: newKeys(n) },
    clients: [
      { client_id: 'machine', client_secret: 'x'.repeat(32), grant_types: ['client_credentials'], redirect_uris: [], response_types: [] },
      {
        client_id: 'cli', token_endpoint_auth_method: 'none', application_type: 'native', redirect_uris: ['http://127.0.0.1/callback'],
        grant_types: ['authorization_code', 'urn:ietf:params:oauth:grant-type:device_code'], response_types: ['code'],
      },
    ],
    findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    extraTokenClaims: (ctx, token) => ({ groups: ['soc'] }),
    cookies: { keys: ['test'] },
    features: {
      clientCredentials: { enabled: true },
      deviceFlow: { enabled: true },
      dPoP: { enabled: true },
      devInteractions: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => 'https://pavise.example',
        useGrantedResource: () => true,
        getResourceServerInfo: (ctx, resource, client) => ({
          scope: '', audience: 'pavise', accessTokenTTL: 600, accessTokenFormat: 'jwt',
          jwt: { sign: { alg: client.clientId === 'machine' ? 'ES256' : 'RS256' } },
        }),
      },
    },
  });
  handle = provider.callback();
}

let generation = 1;
start(generation);
process.stdout.write(JSON.stringify({ issuer }) + '\n');
for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'rotate') {
    start(++generation);
    process.stdout.write(JSON.stringify({ generation }) + '\n');
  }
}
server.close();
process.exit(0);
