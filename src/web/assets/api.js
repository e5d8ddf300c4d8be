// Questions to the API, and the stream of changes.

/** How long a stream may be silent before it counts as dead; the server says something every two seconds. */
const SILENCE_MS = 12_000;
const RETRY_MS = 2_000;

/** How far the server's clock is ahead of this one. */
let aheadMs = 0;

/** The time of the server, whose clock and not the reader's is what ages and countdowns are by. */
export const serverNow = () => Date.now() + aheadMs;

/** Does one part of several; one that fails is written to the console, and holds up no other. @param {() => void} part */
export function attempt(part) {
  try {
    part();
  } catch (error) {
    console.error(error);
  }
}

/** The answer to a question; an error with the server's words. @param {string} path */
export async function ask(path) {
  const answer = await fetch(path, { headers: { accept: "application/json" } });
  const body = await answer.json().catch(() => null);
  if (!answer.ok) {
    const words = body?.error ? `${body.error}: expected ${body.expected}, found ${body.found}` : `status ${answer.status}`;
    throw new Error(words);
  }
  return body;
}

/** All rows of the table. */
export async function allMarkets() {
  const rows = [];
  let next = "";
  do {
    const page = await ask(`/v1/markets?limit=10000${next && `&cursor=${next}`}`);
    rows.push(...page.symbols);
    next = page.next;
  } while (next);
  return rows;
}

/**
 * Listens for as long as the page is open. `opened` is called at every beginning, before which anything may have
 * been missed; `state` with "live" or "lost".
 * @param {{opened: () => void, state: (state: string) => void, [event: string]: (data: any) => void}} on
 */
export function listen(on) {
  let heardAt = Date.now();
  /** @type {EventSource | undefined} */
  let source;
  const begin = () => {
    source?.close();
    source = new EventSource("/v1/events");
    heardAt = Date.now();
    source.onopen = () => {
      heardAt = Date.now();
      on.state("live");
      on.opened();
    };
    source.onerror = () => {
      on.state("lost");
      // It tries again by itself after a broken connection, and not after an answer that is none.
      if (source?.readyState === EventSource.CLOSED) setTimeout(begin, RETRY_MS);
    };
    for (const event of ["status", "markets", "quality", "pipeline"]) {
      source.addEventListener(event, (message) => {
        heardAt = Date.now();
        const data = JSON.parse(message.data);
        if (event === "status") aheadMs = Date.parse(data.now) - Date.now();
        on[event](data);
      });
    }
    source.addEventListener("lagged", begin);
  };
  begin();
  setInterval(() => {
    if (Date.now() - heardAt > SILENCE_MS) {
      on.state("lost");
      begin();
    }
  }, SILENCE_MS / 4);
}
