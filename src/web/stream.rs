//! Server-sent events: whoever listens is told what has changed, a few times a second, with all changes of that time
//! in one event. Who is too slow is told to begin anew, and holds up nobody.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use tokio::sync::broadcast::error::RecvError;

use super::board::Board;
use crate::query::{Refused, answer};

/// A page that is open for longer asks again, by itself.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// `/v1/events`: `status`, `markets`, `quality`, `pipeline`, and `lagged` before the end of one that was too slow.
pub(super) async fn events(State(board): State<Board>) -> Response {
    let Ok(turn) = std::sync::Arc::clone(&board.shared.streams).try_acquire_owned() else {
        let expected = "fewer pages at a time, or a higher `serve.streams_max`";
        let refused = Refused::question("too many pages are kept up to date", expected, "no room");
        return answer::<()>(Err(Refused { status: 503, ..refused }));
    };
    let streams = board.shared.metrics.streams.clone();
    streams.inc();
    let open = Open { _turn: turn, streams };
    let first = Event::default().event("status").data(board.status().to_string());
    let rest = stream::unfold(Some((board.listen(), open)), async |state| {
        let (mut frames, open) = state?;
        match frames.recv().await {
            Ok(frame) => {
                let event = Event::default().event(frame.event).data(&*frame.data);
                Some((event, Some((frames, open))))
            }
            Err(RecvError::Lagged(frames)) => {
                Some((Event::default().event("lagged").data(frames.to_string()), None))
            }
            Err(RecvError::Closed) => None,
        }
    });
    let all = futures_util::StreamExt::chain(stream::once(async { first }), rest);
    let all = futures_util::StreamExt::map(all, Ok::<_, Infallible>);
    Sse::new(all).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

/// One that listens, counted until it is gone.
struct Open {
    _turn: tokio::sync::OwnedSemaphorePermit,
    streams: prometheus::IntGauge,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.streams.dec();
    }
}
