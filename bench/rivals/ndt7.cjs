// One download by M-Lab's ndt7 client: node ndt7.cjs NODE_MODULES HOST:PORT prints its last measurement as JSON.
// Without HOST:PORT it starts and ends, which tells what the start costs. The client is written for browsers: this file
// gives it the two things of theirs that Node lacks, a Worker of the web's shape and a WebSocket.
'use strict';
const path = require('node:path');
const { Worker: Thread } = require('node:worker_threads');

const [modules, server] = process.argv.slice(2);
const ndt7 = require(path.join(modules, '@m-lab/ndt7'));
const webSocket = path.resolve(modules, 'ws');
require(webSocket);

const IN_THREAD = `
  const { parentPort, workerData } = require('node:worker_threads');
  globalThis.self = globalThis;
  globalThis.WebSocket = require(workerData.webSocket);
  globalThis.postMessage = (message) => parentPort.postMessage(message);
  require(workerData.file);
  parentPort.on('message', (data) => globalThis.onmessage({ data }));
`;

globalThis.Worker = class {
  constructor(file) {
    this.thread = new Thread(IN_THREAD, { eval: true, workerData: { file, webSocket } });
    this.thread.on('message', (data) => this.onmessage({ data }));
    this.thread.on('error', (error) => this.onmessage({ data: { MsgType: 'error', Error: String(error) } }));
  }
  postMessage(message) { this.thread.postMessage(message); }
  terminate() { this.thread.terminate(); }
};

async function main() {
  const config = {
    server,
    protocol: 'ws',
    mlabDataPolicyInapplicable: true,  // no server of M-Lab's takes part
    downloadworkerfile: path.resolve(modules, '@m-lab/ndt7/src/ndt7-download-worker.js'),
  };
  const failed = (error) => { console.error(`ndt7: ${error}`); process.exit(1); };
  const done = ({ LastClientMeasurement: last }) => last ? console.log(JSON.stringify(last)) : failed('no measurement');
  const urls = ndt7.discoverServerURLs(config, { error: failed });
  await ndt7.downloadTest(config, { error: failed, downloadComplete: done }, urls);
}

if (server) main();
