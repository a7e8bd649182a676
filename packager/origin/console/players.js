// The three players behind one face: start(video, url, options) -> {version, latency(), picture(), renditions(), choose(i), stop()}.
// An error has hasGivenUp if the player asks for nothing more because something did not come; what it cannot decode is another matter.
// Each sends CMCD version 2 with every request and posts its events to /cmcd; the dialects differ, the origin reads them all.

const EVENTS = ['ps', 'e', 't', 'bc'];
const EVENT_SECONDS = 5;
const KEYS = ['bl', 'br', 'bs', 'bsa', 'bsd', 'cid', 'd', 'dl', 'e', 'ltc', 'msd', 'mtp', 'ot', 'pr', 'rtp', 'sf', 'sid', 'sn', 'st', 'sta', 'su', 'tb', 'ts', 'v'];

// hls.js adds up when segments begin, so that one may end 7e-15 s behind the buffer that ends with it, which counts microseconds. Has it just
// switched, by its own choice or by order, and loaded only the last GOP of that segment, it looks for what comes next at the end of the buffer,
// finds the same segment, of which parts are missing and which yet is all buffered, and loads nothing for seconds (getFragmentAtPosition, 1.7.4).
function alignToMicroseconds({ fragments, fragmentHint }) {
  for (const fragment of fragmentHint ? [...fragments, fragmentHint] : fragments) {
    fragment.setStart(Math.round(fragment.start * 1e6) / 1e6);
    fragment.setDuration(Math.round(fragment.duration * 1e6) / 1e6);
  }
}

function startHls(video, url, { lowLatency, session, channel, reports, onError, onNote }) {
  const hls = new Hls({
    lowLatencyMode: lowLatency,
    cmcd: {
      version: 2, sessionId: session, contentId: channel, useHeaders: false,
      eventTargets: [{ url: reports, events: EVENTS, interval: EVENT_SECONDS, batchSize: 1 }],
    },
  });
  hls.on(Hls.Events.ERROR, (_, data) => {
    const text = [data.details, data.reason || data.error?.message].filter(Boolean).join(': ');
    onError({ code: data.details, fatal: data.fatal, hasGivenUp: data.fatal && data.type === Hls.ErrorTypes.NETWORK_ERROR, text });
  });
  if (lowLatency) for (const event of [Hls.Events.LEVEL_UPDATED, Hls.Events.LEVEL_PTS_UPDATED]) hls.on(event, (_, data) => alignToMicroseconds(data.details));
  hls.on(Hls.Events.LEVEL_SWITCHED, (_, data) => onNote(`rendition ${hls.levels[data.level]?.height}p`, 'switch'));
  hls.loadSource(url);
  hls.attachMedia(video);
  return {
    version: `hls.js ${Hls.version}`,
    playheadMs: () => hls.playingDate?.getTime() ?? null,
    latency: () => null,
    renditions: () => hls.levels.map((level, i) => ({ id: i, label: `${level.height}p` })),
    // What is buffered is played, as in the other players: nextLevel throws it away, in low latency from the middle of a GOP on.
    choose: (i) => { hls.loadLevel = i; },
    stop: () => hls.destroy(),
  };
}

function startDash(video, url, { session, channel, reports, onError, onNote }) {
  const player = dashjs.MediaPlayer().create();
  player.initialize();
  player.updateSettings({
    streaming: {
      cmcd: {
        enabled: true, version: 2, sid: session, cid: channel, mode: 'query', enabledKeys: KEYS,
        eventTargets: [{ enabled: true, url: reports, events: EVENTS, interval: EVENT_SECONDS, batchSize: 1, enabledKeys: KEYS }],
      },
    },
  });
  // It asks for segments again and again, but not for a manifest.
  const { DOWNLOAD_ERROR_ID_MANIFEST_CODE, MANIFEST_LOADER_LOADING_FAILURE_ERROR_CODE } = dashjs.MediaPlayer.errors;
  const last = [DOWNLOAD_ERROR_ID_MANIFEST_CODE, MANIFEST_LOADER_LOADING_FAILURE_ERROR_CODE];
  player.on('error', (event) => onError({
    code: event.error?.code, fatal: true, hasGivenUp: last.includes(event.error?.code), text: String(event.error?.message ?? event.error),
  }));
  player.on('qualityChangeRendered', (event) => {
    if (event.mediaType === 'video' && event.newRepresentation) onNote(`rendition ${event.newRepresentation.height}p`, 'switch');
  });
  player.attachView(video);
  player.attachSource(url);
  const video_ = () => player.getRepresentationsByTypeUnfiltered?.('video') ?? [];
  // Half-way between two renditions, for the next period may have a little other bit rates; -1: no limit.
  const between = (lower, upper) => (lower && upper ? (lower.bitrateInKbit + upper.bitrateInKbit) / 2 : -1);
  return {
    version: `dash.js ${player.getVersion()}`,
    playheadMs: () => null,
    latency: () => player.getCurrentLiveLatency(),
    renditions: () => video_().map((representation, i) => ({ id: i, label: `${representation.height}p` })),
    // As its own choice would, between two requests: setRepresentationForTypeByIndex switches at once, throws away what is being loaded of the
    // next period, and if that comes to be played before the next MPD, asks for its segment at 0 for ever (activate() sets no time).
    choose: (i) => {
      const all = video_(), chosen = all[i];
      player.updateSettings({ streaming: { abr: {
        minBitrate: { video: chosen ? between(all[i - 1], chosen) : -1 }, maxBitrate: { video: chosen ? between(chosen, all[i + 1]) : -1 },
      } } });
    },
    stop: () => player.destroy(),
  };
}

// The default time shift.
const WINDOW_S = 60;

async function startShaka(video, url, { lowLatency, session, channel, reports, onError, onNote }) {
  shaka.polyfill.installAll();
  const player = new shaka.Player();
  await player.attach(video);
  player.configure({
    streaming: { lowLatencyMode: lowLatency },
    cmcd: {
      enabled: true, version: 2, sessionId: session, contentId: channel, useHeaders: false,
      eventTargets: [{ mode: 'event', enabled: true, url: reports, events: EVENTS, interval: EVENT_SECONDS, includeKeys: [], useHeaders: false, version: 2, batchSize: 1 }],
    },
  });
  if (lowLatency && url.endsWith('.mpd')) {
    // Else it counts its delay from the end of the open segment and keeps what it joined with; nearer than this it stalls.
    player.configure({
      manifest: { defaultPresentationDelay: 2, dash: { ignoreSuggestedPresentationDelay: true, autoCorrectDrift: false } },
      streaming: { liveSync: { enabled: true, targetLatency: 0.5, targetLatencyTolerance: 0.5, minPlaybackRate: 0.96, maxPlaybackRate: 1.04 } },
    });
  }
  // It would look for captions inside three segments before it starts, whatever the playlist says of them; the open one, which it may choose
  // where there are no three, has no address yet.
  player.configure({ manifest: { hls: { disableClosedCaptionsDetection: true } } });
  // Else it takes for its window what is listed, and for the live edge the wall clock, which a hole in the source moves away from what is
  // listed: with every playlist it forgets as much at the front as is missing at the end, until it knows no segment and throws exceptions.
  if (url.endsWith('.m3u8')) player.configure({ manifest: { availabilityWindowOverride: WINDOW_S } });
  // While nothing is buffered there is nothing to seek in, so the browser leaves out its seek to a start within the first segment, as on a
  // channel of three, and plays from 0. It waits for that seek, takes its start for the playhead for ever and loads ten seconds, no more.
  video.addEventListener('loadeddata', () => { if (!video.seeking) video.dispatchEvent(new Event('seeking')); }, { once: true });
  const said = (error) => (error.code ? `Shaka error ${error.code} ${JSON.stringify(error.data ?? '').slice(0, 160)}` : `${error} ${error.stack ?? ''}`.slice(0, 400));
  const failed = (error, hasGivenUp = false) => onError({ code: error.code ?? error.name, fatal: error.severity === 2, hasGivenUp, text: said(error) });
  player.addEventListener('error', (event) => failed(event.detail));
  player.addEventListener('gapjumped', () => onNote('gap jumped', 'gap'));
  for (const name of ['adaptation', 'variantchanged']) {
    player.addEventListener(name, (event) => { if (event.newTrack) onNote(`rendition ${event.newTrack.height}p`, 'switch'); });
  }
  const variants = () => player.getVariantTracks().sort((a, b) => a.bandwidth - b.bandwidth);
  // Once a live channel is loaded it asks on by itself.
  player.load(url).catch((error) => failed(error, error.category === shaka.util.Error.Category.NETWORK));
  return {
    version: `Shaka Player ${shaka.Player.version.replace(/^v/, '')}`,
    playheadMs: () => player.getPlayheadTimeAsDate()?.getTime() ?? null,
    latency: () => player.getStats().liveLatency,
    renditions: () => variants().map((track, i) => ({ id: i, label: `${track.height}p` })),
    choose: (i) => {
      player.configure({ abr: { enabled: i < 0 } });
      if (i >= 0 && variants()[i]) player.selectVariantTrack(variants()[i], false);
    },
    stop: () => player.destroy(),
  };
}

const START = { hls: startHls, dash: startDash, shaka: startShaka };

// What each choice plays; the addresses come from /api/channels.
const SOURCE = {
  'hls/plain': 'hls', 'hls/ll': 'll_hls', 'dash/plain': 'dash', 'dash/ll': 'll_dash',
  'shaka/plain': 'hls', 'shaka/ll': 'll_hls', 'shaka/dash': 'dash', 'shaka/ll-dash': 'll_dash',
};

export const choices = Object.keys(SOURCE);
export const sourceOf = (choice, channel) => channel[SOURCE[choice]];
export const start = async (choice, video, url, options) =>
  START[choice.split('/')[0]](video, url, { ...options, lowLatency: choice.includes('/ll') });
