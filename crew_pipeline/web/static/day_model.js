// @ts-check
/** A day as it is looked at: every line in its place, which of them are hidden, and under what. */

/**
 * @typedef {{start: number, end: number, of: {line_id: string, start: number}, lines: number, times?: number,
 *   other_lines?: number, reason: string, within?: string, own?: boolean}} Repeat
 * @typedef {{line_id: string, speaker: string, spoken_at: string, text: string, repeats?: Repeat[],
 *   standing?: {name: string, messages: number, characters: number, key: string, hidden?: {start: number, end: number}[]},
 *   hidden_variations: Variation[], represented_by?: string | null, similarity?: number, probability?: number,
 *   reason?: string, number: number, place: Place}} Line
 * @typedef {{line_id: string, conversation_id: string, speaker: string, spoken_at: string, text: string,
 *   repeats?: Repeat[], probability: number, reason: string}} Variation
 * @typedef {{id: string, session_id: string, crew: string, title: string | null, started_at: string, ended_at: string,
 *   line_count: number, hidden_count: number, character_count: number | null, hidden_character_count: number | null,
 *   times_inferred?: boolean, display_conversation: Line[]}} Conversation
 * @typedef {{conversation: Conversation, chunk: Chunk}} Place
 */

/** Lines that are laid out together, always the same ones however the day folds. */
export class Chunk {
  /** @param {Conversation} conversation @param {Line[]} lines */
  constructor(conversation, lines) {
    this.conversation = conversation;
    this.lines = lines;
    /** @type {HTMLOListElement | null} */
    this.list = null;
    /** Whether its lines are laid out. */
    this.drawn = false;
  }

  /** What its lines look like: equal ones are not drawn again. */
  get look() {
    const ends = [this.lines[0], this.lines[this.lines.length - 1]].map((line) => line.represented_by && hiddenRun(line).length);
    return JSON.stringify([ends, ...this.lines.map((line) => [line.represented_by, line.reason, line.text.length, line.repeats?.length,
      line.standing?.hidden?.length, line.hidden_variations.map((one) => [one.line_id, one.reason])])]);
  }

  /** Roughly how many rows of text it takes. */
  get rows() {
    return this.lines.reduce((sum, line) => sum + (line.represented_by ? 0.2 : rowsOf(line.text)), 0);
  }
}

const ROWS_A_CHUNK = 48;

/** The hidden lines beside a hidden one, itself included, across chunks. @param {Line} line */
export function hiddenRun(line) {
  const lines = line.place.conversation.display_conversation;
  let from = line.number - 1, to = from;
  while (from > 0 && lines[from - 1].represented_by) from--;
  while (to + 1 < lines.length && lines[to + 1].represented_by) to++;
  return lines.slice(from, to + 1);
}

/** @param {string} text */
function rowsOf(text) {
  let rows = 1;
  for (let at = text.indexOf("\n"); at >= 0 && rows < 400; at = text.indexOf("\n", at + 1)) rows++;
  return Math.max(rows, Math.ceil(text.length / 90));
}

/** The day that is looked at. */
export class DayModel {
  /** @param {string} day @param {Conversation[]} conversations @param {any} metadata */
  constructor(day, conversations, metadata) {
    this.day = day;
    this.conversations = conversations;
    this.metadata = metadata;
    /** @type {Map<string, Line>} */
    this.lines = new Map();
    /** @type {Map<Conversation, Chunk[]>} */
    this.chunks = new Map();
    for (const conversation of conversations) this.chunks.set(conversation, this.chunked(conversation));
  }

  /** @param {Conversation} conversation */
  chunked(conversation) {
    const chunks = [];
    /** @type {Line[]} */
    let lines = [];
    let rows = 0;
    conversation.display_conversation.forEach((line, index) => {
      line.number = index + 1;
      this.lines.set(line.line_id, line);
      lines.push(line);
      rows += rowsOf(line.text);
      if (rows >= ROWS_A_CHUNK) {
        chunks.push(new Chunk(conversation, lines));
        lines = [];
        rows = 0;
      }
    });
    if (lines.length) chunks.push(new Chunk(conversation, lines));
    for (const chunk of chunks) for (const line of chunk.lines) line.place = { conversation, chunk };
    return chunks;
  }

  /** Whether another answer holds the same lines, so that it can be shown in place. @param {Conversation[]} others */
  holdsTheSame(others) {
    return others.length === this.conversations.length && others.every((other, index) => {
      const own = this.conversations[index];
      return own.id === other.id && own.display_conversation.length === other.display_conversation.length &&
        other.display_conversation.every((line, at) => line.line_id === own.display_conversation[at].line_id);
    });
  }

  /** Take over how another answer folds the same lines; their order and their chunks stay.
   * @param {Conversation[]} others @param {any} metadata */
  foldAs(others, metadata) {
    this.metadata = metadata;
    others.forEach((other, index) => {
      const { display_conversation: lines, ...told } = other;
      Object.assign(this.conversations[index], told);
      lines.forEach((line) => {
        const own = /** @type {Line} */ (this.lines.get(line.line_id));
        for (const name of /** @type {const} */ (["repeats", "standing", "represented_by", "reason", "probability"])) delete own[name];
        Object.assign(own, line);
      });
    });
  }

  get visible() {
    return [...this.lines.values()].filter((line) => !line.represented_by);
  }

  get lineCount() {
    return this.conversations.reduce((sum, one) => sum + one.line_count, 0);
  }

  get hiddenCount() {
    return this.conversations.reduce((sum, one) => sum + one.hidden_count, 0);
  }

  /** How many lines are folded for each reason, the most first. @returns {[string, number][]} */
  reasons() {
    const found = new Map();
    for (const line of this.lines.values()) {
      if (line.represented_by) found.set(kindOf(line.reason || ""), (found.get(kindOf(line.reason || "")) || 0) + 1);
    }
    return [...found].sort((one, other) => other[1] - one[1]);
  }
}

/** The kind of a reason: what it says but for what it says of these two lines. @param {string} reason */
const kindOf = (reason) => reason.split(/[;:,(]/)[0].trim();

/** How sure a fold is, in words. @param {number | undefined} probability */
export const sureness = (probability) => (probability === undefined ? "" : `${Math.round(probability * 100)}% sure`);

/** How much of something is folded. @param {number | null} hidden @param {number | null} all */
export const percent = (hidden, all) => (hidden && all ? Math.round((100 * hidden) / all) : 0);
