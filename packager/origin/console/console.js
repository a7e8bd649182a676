// The watch page: pick a channel and a player, see what a viewer sees. ?channel=c1&player=hls&mode=ll opens one at once.
// window.finecut holds what was measured, for tests.
import { Chart } from './chart.js';
import { Meter } from './meter.js';
import { choices, sourceOf, start } from './players.js';

const ADDRESSES = { hls: 'HLS', ll_hls: 'LL-HLS', dash: 'DASH', ll_dash: 'LL-DASH' }, LABELLED_SHARE = 0.07;
const LEVELS = { parts: 'parts and segments', segments: 'segments' }, STATES = { off: 'off: nobody asks' };
const REFRESH_MS = 250, CHANNELS_MS = 1500, LOG_MAX = 60;
// A player that gave up because nothing came is started again after a wait that grows, and is short again once it has played for a while.
const AGAIN_S = 1, AGAIN_S_MAX = 30, PLAYED_S = 20, ANSWER_MS = 5000;
// So is one that stands still, without a word, while so many target durations more were listed: one that joined while nothing came may wait for
// ever for a segment that was never made (dash.js does), one whose playlists were refused for a while may ask for none any more (Shaka Player
// does). Three may pass before a player begins.
const STANDS_TARGETS = 5;
const $ = (id) => document.getElementById(id);
const video = $('video'), query = new URLSearchParams(location.search);
const chart = new Chart($('chart'), ['#5eead4', '#fbbf77']);
const wanted = `${query.get('player') ?? 'hls'}/${query.get('mode') ?? 'plain'}`;
const state = { choice: choices.includes(wanted) ? wanted : 'hls/plain', channelId: query.get('channel'), channels: [], clockMs: 0, turn: 0, waits: 0, isWaiting: false, isSilent: false, stood: null };
let player = null, meter = null;

const measured = (window.finecut = { channel: null, player: null, mode: null, version: null, url: null, errors: [], notes: [], stalls: [], jumps: [],
  switches: 0, starts: 0, startup_s: null, latency_s: null, buffer_s: 0, rendition: null, segment_s: null, choose: (i) => player?.choose(i) });

function tell(kind, text) {
  const entry = document.createElement('li'), at = document.createElement('time'), what = document.createElement('span');
  at.textContent = meter ? `${(performance.now() / 1000 - meter.began).toFixed(1)} s` : '';
  what.textContent = text;
  entry.className = kind;
  entry.append(at, what);
  $('log').prepend(entry);
  while ($('log').children.length > LOG_MAX) $('log').lastChild.remove();
}

function notice(text) {
  $('notice').textContent = text;
  $('notice').classList.toggle('shown', Boolean(text));
}

// What one player saw stays where another goes on for it.
async function play({ isAgain = false } = {}) {
  const turn = ++state.turn, before = isAgain ? meter : null;
  state.isWaiting = false;
  state.stood = null;
  if (!isAgain) state.waits = 0;
  meter?.stop();
  await player?.stop();
  player = null;
  const channel = state.channels.find((c) => c.channel === state.channelId);
  if (turn !== state.turn) return;
  if (!channel) {
    if (isAgain) startAgain('the origin does not list the channel');
    return;
  }
  const [name, mode] = state.choice.split('/');
  const url = new URL(sourceOf(state.choice, channel), location.href).href;
  Object.assign(measured, { channel: channel.channel, player: name, mode, url, startup_s: null, latency_s: null, rendition: null });
  if (!isAgain) Object.assign(measured, { errors: [], notes: [], switches: 0, starts: 0 });
  measured.starts++;
  history.replaceState(null, '', `?channel=${channel.channel}&player=${name}&mode=${mode}`);
  if (!isAgain) $('log').replaceChildren();
  $('rendition').replaceChildren(new Option('automatic', '-1'));
  if (!isAgain) chart.clear();
  notice(channel.state === 'off' ? 'This channel is not packaged now. It starts because you asked.' : 'Loading');
  meter = new Meter(video, (kind, text) => { if (kind === 'started') notice(''); tell(kind, text); });
  if (before) Object.assign(meter, { stalls: before.stalls, jumps: before.jumps });
  measured.stalls = meter.stalls;
  measured.jumps = meter.jumps;
  const made = await start(state.choice, video, url, {
    session: globalThis.crypto?.randomUUID?.() ?? `${Date.now()}-${Math.random().toString(36).slice(2)}`,
    channel: channel.channel,
    reports: new URL('cmcd', location.href).href,
    onError: (error) => {
      // hls.js calls it an error when its first audio and video do not begin at the same instant, and starts there.
      const isError = error.fatal || meter.startup_s !== null;
      measured[isError ? 'errors' : 'notes'].push({ at_s: +video.currentTime.toFixed(2), ...error });
      tell(isError ? 'bad' : 'note', error.text);
      if (error.hasGivenUp && turn === state.turn) startAgain(`error ${error.code}`);
    },
    onNote: (text, kind) => {
      if (kind === 'switch') measured.switches++;
      measured.notes.push({ at_s: +video.currentTime.toFixed(2), text });
      tell('note', text);
    },
  });
  if (turn !== state.turn) { made.stop(); return; }
  player = made;
  measured.version = player.version;
  $('version').textContent = player.version;
}

// Once the origin answers another player goes on for the one that has given up; what cannot be decoded would only fail again.
async function startAgain(reason) {
  if (state.isWaiting) return;
  state.isWaiting = true;
  const { turn } = state, { url } = measured;
  if (performance.now() / 1000 - meter.began > PLAYED_S && meter.startup_s !== null) state.waits = 0;
  for (let answer = { why: reason, wait_s: 0 }; answer.why; answer = await ask(url)) {
    const wait_s = Math.min(AGAIN_S_MAX, Math.max(answer.wait_s, AGAIN_S * 2 ** state.waits++));
    const told = `Nothing comes (${answer.why}): asked again in ${wait_s} s`;
    notice(told);
    tell('note', told);
    await new Promise((resolve) => setTimeout(resolve, wait_s * 1000));
    if (turn !== state.turn) return;
  }
  if (turn === state.turn) play({ isAgain: true });
}

// Why a manifest is not to be had, empty if it is, and how long the origin wants to be left alone.
async function ask(url) {
  try {
    const answer = await fetch(url, { cache: 'no-store', signal: AbortSignal.timeout(ANSWER_MS) });
    return { why: answer.ok ? '' : `the origin answers ${answer.status}`, wait_s: Number(answer.headers.get('retry-after')) || 0 };
  } catch {
    return { why: 'the origin does not answer', wait_s: 0 };
  }
}

// Looked at whenever the channels are. A player that has nothing may move its playhead on and on (Shaka Player, behind a window that it has lost).
function startAgainIfItStands(channel) {
  const { currentTime: at, paused, ended, readyState } = video, edge = channel?.edge_unix_ms;
  const hasMedia = readyState >= HTMLMediaElement.HAVE_FUTURE_DATA, plays = hasMedia && state.stood?.at !== at;
  // By its viewer, or by a browser that shows it to nobody. What has nothing to begin with counts as paused as well, and is meant here.
  const isPaused = paused && (hasMedia || meter?.startup_s !== null);
  if (isPaused || ended || plays || !player || !edge || !state.stood?.edge || state.isWaiting) state.stood = { at, edge };
  else if (edge - state.stood.edge > STANDS_TARGETS * channel.target_duration_s * 1000) startAgain('the player stands still');
}

function refresh() {
  if (!player || !meter) return;
  const at = player.playheadMs(), said = player.latency();
  const latency = video.readyState < 2 ? null : at !== null ? (Date.now() + state.clockMs - at) / 1000 : Number.isFinite(said) ? said : null;
  const rendition = video.videoHeight ? `${video.videoWidth}×${video.videoHeight}` : null;
  Object.assign(measured, { is_waiting: state.isWaiting, latency_s: latency, buffer_s: meter.buffer_s, rendition, startup_s: meter.startup_s, playing: meter.startup_s !== null, ended: video.ended });
  const seconds = (value, digits = 1) => (value === null ? '–' : `${value.toFixed(digits)}<small> s</small>`);
  $('latency').innerHTML = seconds(latency);
  $('buffer').innerHTML = seconds(meter.startup_s === null ? null : meter.buffer_s);
  $('picture').textContent = rendition ?? '–';
  $('startup').innerHTML = seconds(meter.startup_s, 2);
  for (const name of ['stalls', 'jumps', 'errors']) {
    $(name).textContent = measured[name].length;
    $(name).classList.toggle('bad', measured[name].length > 0);
  }
  if (meter.startup_s !== null) chart.add([latency, meter.buffer_s]);
  const renditions = player.renditions();
  if (renditions.length && $('rendition').length !== renditions.length + 1) {
    $('rendition').replaceChildren(new Option('automatic', '-1'), ...renditions.map(({ id, label }) => new Option(label, id)));
  }
}

// What was decided about the channel that is watched, told as it comes into force.
function tellPlan(before, now) {
  if (!before || !now) return;
  if (before.state !== now.state || before.level !== now.level) tell('plan', now.state === 'live' ? `packaged as ${LEVELS[now.level] ?? now.level}` : `channel is ${now.state}`);
  else if (before.segment_s && now.segment_s && before.segment_s !== now.segment_s) tell('plan', `segments of ${+now.segment_s.toFixed(1)} s instead of ${+before.segment_s.toFixed(1)} s`);
}

function showChannels() {
  $('channels').replaceChildren(...state.channels.map((channel) => {
    const item = document.createElement('li'), button = document.createElement('button');
    const dot = document.createElement('i'), name = document.createElement('span'), what = document.createElement('span');
    dot.className = `dot ${channel.state}`;
    name.className = 'name';
    name.textContent = channel.channel;
    what.className = 'what';
    what.textContent = channel.state === 'live' ? `${LEVELS[channel.level] ?? channel.level}, ${+channel.segment_s.toFixed(1)} s` : STATES[channel.state] ?? channel.state;
    button.setAttribute('aria-current', String(channel.channel === state.channelId));
    button.append(dot, name, what);
    button.onclick = () => { state.channelId = channel.channel; showChannels(); play(); };
    item.append(button);
    return item;
  }));
  const current = state.channels.find((c) => c.channel === state.channelId);
  measured.segment_s = current?.segment_s ?? null;
  $('segment').innerHTML = current?.segment_s ? `${current.segment_s.toFixed(1)}<small> s</small>` : '–';
  $('plan').textContent = current ? `at most ${current.target_duration_s}` : '';
  const lengths = (current?.segment_lengths_s ?? []).slice(-14), total = lengths.reduce((sum, length) => sum + length, 0);
  $('segments').replaceChildren(...lengths.map((length, i) => {
    const bar = document.createElement('i'), label = Math.round(length);
    bar.style.flexGrow = length;
    // Narrow ones of a run are labelled once, so that labels do not touch.
    if (length / total > LABELLED_SHARE || i === 0 || Math.round(lengths[i - 1]) !== label) bar.textContent = label;
    bar.title = `${length} s`;
    return bar;
  }));
  $('addresses').replaceChildren(...Object.entries(ADDRESSES).filter(([kind]) => current?.[kind]).map(([kind, label]) => {
    const item = document.createElement('li'), what = document.createElement('span'), link = document.createElement('a');
    what.textContent = label;
    link.href = link.title = new URL(current[kind], location.href).href;
    // A line may break after a slash only.
    link.append(...current[kind].split(/(?<=\/)/).flatMap((piece) => [piece, document.createElement('wbr')]));
    item.append(what, link);
    return item;
  }));
}

async function load() {
  try {
    const asked = Date.now(), answer = await (await fetch('api/channels')).json();
    state.clockMs = answer.at_unix_ms - (asked + Date.now()) / 2;
    const watched = (channels) => channels.find((c) => c.channel === state.channelId);
    tellPlan(watched(state.channels), watched(answer.channels));
    state.channels = answer.channels;
    if (state.isSilent && state.turn && !state.isWaiting) notice(meter?.startup_s == null ? 'Loading' : '');
    state.isSilent = false;
  } catch (error) {
    state.isSilent = true;
    if (!state.isWaiting) notice('The origin does not answer.');
    setTimeout(load, CHANNELS_MS);
    return;
  }
  if (!state.channels.some((c) => c.channel === state.channelId)) {
    const first = state.channels.find((c) => c.state === 'live') ?? state.channels[0];
    if (first && !query.get('channel')) state.channelId = first.channel;
  }
  if (!player && !state.turn && state.channels.some((c) => c.channel === state.channelId)) play();
  else if (!state.turn) notice(query.get('channel') ? `There is no channel ${query.get('channel')} yet.` : 'No channel yet. Start one with: finecut encode');
  showChannels();
  startAgainIfItStands(state.channels.find((c) => c.channel === state.channelId));
  setTimeout(load, CHANNELS_MS);
}

$('choice').value = state.choice;
$('choice').onchange = () => { state.choice = $('choice').value; play(); };
$('rendition').onchange = () => player?.choose(Number($('rendition').value));
setInterval(refresh, REFRESH_MS);
load();
