// Reads manifests with other people's parsers.   node read.mjs MANIFESTS.json   MANIFESTS: {name: text}; writes {name: what was read}.
import HLS from 'hls-parser';
import { parse as parseMpd } from 'mpd-parser';
import fs from 'node:fs';

const seconds = (list) => +list.reduce((sum, item) => sum + item.duration, 0).toFixed(3);
const read = {
  m3u8: (text) => {
    const playlist = HLS.parse(text);
    return playlist.isMasterPlaylist
      ? { variants: playlist.variants.length, audio: playlist.variants.every((v) => v.audio.length === 1) }
      : { segments: playlist.segments.filter((s) => s.uri).length, seconds: seconds(playlist.segments.filter((s) => s.uri)), target: playlist.targetDuration,
          parts: playlist.segments.flatMap((s) => s.parts).filter((p) => !p.hint).length, hints: playlist.segments.flatMap((s) => s.parts).filter((p) => p.hint).length };
  },
  mpd: (text) => {
    const { playlists } = parseMpd(text, { manifestUri: 'http://host/channel/dash/manifest.mpd' });
    return { representations: playlists.length, segments: playlists[0].segments.length, seconds: seconds(playlists[0].segments) };
  },
};
const manifests = JSON.parse(fs.readFileSync(process.argv[2]));
process.stdout.write(JSON.stringify(Object.fromEntries(Object.entries(manifests).map(([name, text]) => [name, read[name.split('.').pop()](text)]))));
