// Reads media with mp4box.js.   node boxes.mjs TRACKS.json   TRACKS: {name: [base64 of the init segment, then of each segment]};
// writes {name: {codec, timescale, samples: [[decode time, duration, size, is sync], ...]}}.
import fs from 'node:fs';
import { createFile } from 'mp4box';

const read = (pieces) => {
  const file = createFile();
  const found = { samples: [] };
  file.onError = (module, message) => { throw new Error(`${module}: ${message}`); };
  file.onReady = ({ tracks }) => {
    [found.codec, found.timescale] = [tracks[0].codec, tracks[0].timescale];
    file.setExtractionOptions(tracks[0].id, null, { nbSamples: 1 });
    file.start();
  };
  file.onSamples = (id, user, samples) => found.samples.push(...samples.map((s) => [s.dts, s.duration, s.size, s.is_sync]));
  let offset = 0;
  for (const piece of pieces) {
    const bytes = Buffer.from(piece, 'base64');
    const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
    buffer.fileStart = offset;
    offset += buffer.byteLength;
    file.appendBuffer(buffer);
  }
  file.flush();
  return found;
};
const tracks = JSON.parse(fs.readFileSync(process.argv[2]));
process.stdout.write(JSON.stringify(Object.fromEntries(Object.entries(tracks).map(([name, pieces]) => [name, read(pieces)]))));
