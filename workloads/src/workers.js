// Maps, buffers, compression, and worker threads that hand buffers back.
'use strict';
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const crypto = require('crypto');
const zlib = require('zlib');

function digest(data) {
  return crypto.createHash('sha256').update(data).digest('hex').slice(0, 16);
}

function work(number) {
  const table = new Map();
  for (let i = 0; i < 100000; i++) table.set(`k${i % 9001}`, { i, text: 'x'.repeat(i % 50) });
  const text = JSON.stringify([...table.entries()]);
  const packed = zlib.gzipSync(text);
  const buffer = new ArrayBuffer(1 << 20);
  new Uint8Array(buffer).fill(number);
  return { summary: `${number} ${table.size} ${digest(zlib.gunzipSync(packed))}`, buffer };
}

if (isMainThread) {
  const answers = [];
  let waiting = 4;
  for (let number = 0; number < 4; number++) {
    const worker = new Worker(__filename, { workerData: number });
    worker.on('message', ({ summary, buffer }) => {
      answers.push(`${summary} ${digest(Buffer.from(buffer))}`);
    });
    worker.on('exit', (status) => {
      if (status !== 0) process.exitCode = 1;
      if (--waiting === 0) console.log(answers.sort().join('\n'));
    });
  }
  const chunks = [];
  for (let i = 0; i < 2000; i++) chunks.push(Buffer.alloc(i * 13 % 9000, i % 256));
  console.log('main', digest(Buffer.concat(chunks)));
} else {
  const answer = work(workerData);
  parentPort.postMessage(answer, [answer.buffer]);
}
