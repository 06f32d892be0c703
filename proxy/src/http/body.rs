//! Bodies: counted as they pass, and the end of the answer is the end of the flow.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::SystemTime,
};

use cellwall_policy::Protocol;
use http::Version;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use super::{
    cut::Cut,
    headers,
    kept::{Kept, Source},
    passing::{Passing, Towards},
    received::Received,
    tunnel::Tunnel,
};
use crate::{
    CloseReason,
    authority::Authority,
    flow::{Attempt, Flow, Progress},
};

/// A body of either direction.
#[derive(Debug)]
pub(crate) struct Body {
    content: Content,
    role: Role,
    watched: Option<Watched>,
    /// Whether there was nothing more when a frame was asked for last: to look takes a lock of h2.
    was_at_end: Option<bool>,
}

#[derive(Debug)]
enum Content {
    /// Our own words.
    Ours(Option<bytes::Bytes>),
    /// Handed on as it comes, in this version.
    Passing(Source, Version),
}

#[derive(Debug)]
enum Role {
    Ours,
    Request(Option<(Arc<Progress>, Attempt)>),
    Response(Option<Flow>),
    /// Nothing more in HTTP.
    Switched(Option<Box<Tunnel>>),
}

/// What a body in transit stands on. Each direction watches for itself: the other one may stand
/// still, or have ended (AZ-10).
#[derive(Debug)]
struct Watched {
    authority: Authority,
    /// A frame has passed.
    is_begun: bool,
    /// Made for a body of which there is more than its first frame and its end, or that is waited for.
    ended: Option<Ended>,
}

/// Resolves when the authority of an answer has ended.
struct Ended(Pin<Box<dyn Future<Output = CloseReason> + Send>>);

impl Body {
    /// A short answer of ours.
    pub(crate) fn ours(text: impl Into<bytes::Bytes>) -> Self {
        let text = text.into();
        let content = Content::Ours((!text.is_empty()).then_some(text));
        Self { content, role: Role::Ours, watched: None, was_at_end: None }
    }

    /// The end of HTTP on the caller's connection.
    pub(super) fn switched(tunnel: Tunnel) -> Self {
        let mut body = Self::ours("");
        body.role = Role::Switched(Some(tunnel.into()));
        body
    }

    /// What comes after this answer, if that is no HTTP.
    pub(super) fn tunnel(&mut self) -> Option<Box<Tunnel>> {
        match &mut self.role {
            Role::Switched(tunnel) => tunnel.take(),
            Role::Ours | Role::Request(_) | Role::Response(_) => None,
        }
    }

    /// A request's body on its way to the callee; `progress` counts it. It is cut when `authority`
    /// ends before, whatever becomes of the answer.
    pub(crate) fn request(
        (incoming, version): (Incoming, Version),
        progress: Arc<Progress>,
        authority: Option<&Authority>,
    ) -> Self {
        let watched = authority.cloned().map(Watched::by);
        let role = Role::Request(Some((progress, Attempt::First)));
        Self::passing(Source::Passing(incoming.into()), version, (role, watched))
    }

    /// The same of a call that may be made twice.
    pub(super) fn kept(kept: Kept, progress: Arc<Progress>) -> Self {
        let (version, attempt) = (kept.version(), kept.attempt());
        progress.request(attempt); // it counts from now on
        let role = Role::Request(Some((progress, attempt)));
        Self::passing(Source::Kept(kept), version, (role, None))
    }

    /// A response's body on its way to the caller. `flow` ends when it does; it is cut when `authority`
    /// ends before.
    pub(super) fn response(
        (received, version): (Received, Version),
        flow: Flow,
        authority: Authority,
    ) -> Self {
        let role = Role::Response(Some(flow));
        Self::passing(Source::Passing(received), version, (role, Some(Watched::by(authority))))
    }

    /// Ready when it has to be cut, for whoever has no room for more of it. Of its last frame its call hears by
    /// itself.
    pub(super) fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        if self.watched.as_ref().is_some_and(Watched::is_made) || !self.is_end_stream() {
            self.poll_ended(cx)
        } else {
            Poll::Pending
        }
    }

    /// Ready when what it stands on has ended, for whoever has no room for the end of it, and no call to hear it
    /// from.
    pub(super) fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        let Some(watched) = &mut self.watched else { return Poll::Pending };
        let reason = ready!(watched.poll(cx));
        self.role.end(reason);
        Poll::Ready(reason)
    }

    fn passing(source: Source, version: Version, (role, watched): (Role, Option<Watched>)) -> Self {
        let content = Content::Passing(source, version);
        let mut body = Self { content, role, watched, was_at_end: None };
        if body.is_end_stream() {
            body.role.end(CloseReason::Done);
        }
        body
    }
}

impl Role {
    fn end(&mut self, reason: CloseReason) {
        match self {
            Self::Ours | Self::Switched(_) => {}
            Self::Request(progress) => {
                if let Some((progress, attempt)) = progress.take() {
                    progress.request(attempt).end(reason);
                }
            }
            Self::Response(flow) => {
                if let Some(flow) = flow.take() {
                    flow.close(reason);
                }
            }
        }
    }

    /// Whether this is a gRPC answer that has not said how the call went.
    fn has_no_status(&self) -> bool {
        let Self::Response(Some(flow)) = self else { return false };
        let record = &flow.record;
        record.protocol == Some(Protocol::Grpc) && record.grpc_status.is_none()
    }

    /// Looks at a frame as it passes, and gives it to who takes it.
    fn frame(&mut self, mut frame: Frame<bytes::Bytes>) -> Frame<Passing> {
        if let Some(trailers) = frame.trailers_mut() {
            headers::scrub_trailers(trailers); // HTTP-16, HTTP-19
        }
        let towards = match self {
            Self::Request(Some((progress, attempt))) => {
                Some((Towards::Callee(*attempt), progress.clone()))
            }
            Self::Response(Some(flow)) => {
                if let Some(status) = frame.trailers_ref().and_then(headers::grpc_status) {
                    flow.record.grpc_status = Some(status);
                }
                Some((Towards::Caller, flow.progress.clone()))
            }
            Self::Ours | Self::Request(None) | Self::Response(None) | Self::Switched(_) => None,
        };
        frame.map_data(|bytes| Passing::new(bytes, towards))
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        // Whoever has as many bytes as were announced does not ask for the end (hyper, HTTP/1.1).
        if let Content::Passing(incoming, _) = &self.content
            && incoming.size_hint().exact() == Some(0)
        {
            self.role.end(CloseReason::Done);
        }
    }
}

impl Watched {
    fn by(authority: Authority) -> Self {
        Self { authority, is_begun: false, ended: None }
    }

    fn is_made(&self) -> bool {
        self.ended.is_some()
    }

    /// Whether it is asked before another frame passes: once it is made, and where more may not come.
    fn is_due(&self) -> bool {
        self.is_made() || self.is_begun && !self.authority.is_at_rest(SystemTime::now())
    }

    /// Whether it has to be made for a body of which more may come. What is behind the first frame is most
    /// often its end, and comes with it.
    fn is_wanted(&mut self, is_waited_for: bool) -> bool {
        is_waited_for || std::mem::replace(&mut self.is_begun, true)
    }

    /// Resolves when the body has to be cut although there is more to come.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        let ended = self.ended.get_or_insert_with(|| {
            let authority = self.authority.clone();
            Ended(Box::pin(async move { authority.ended().await }))
        });
        ended.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ended")
    }
}

impl HttpBody for Body {
    type Data = Passing;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        // First: a body that never pauses must not escape it, nor a last frame that nobody asked for.
        if self.watched.as_ref().is_some_and(Watched::is_due)
            && let Poll::Ready(reason) = self.poll_cut(cx)
        {
            return Poll::Ready(Some(Err(Cut::Ended(reason))));
        }
        let Self { content, role, watched, was_at_end } = &mut *self;
        let (incoming, version) = match content {
            Content::Ours(text) => {
                let frame = |text| Ok(Frame::data(Passing::new(text, None)));
                return Poll::Ready(text.take().map(frame));
            }
            Content::Passing(incoming, version) => (incoming, *version),
        };
        let polled = Pin::new(&mut *incoming).poll_frame(cx);
        let is_at_end = incoming.is_end_stream();
        *was_at_end = Some(is_at_end);
        // More is to come, or may be: from now on it is watched.
        if !matches!(polled, Poll::Ready(None | Some(Err(_))))
            && !is_at_end
            && let Some(watched) = watched
            && watched.is_wanted(polled.is_pending())
            && let Poll::Ready(reason) = watched.poll(cx)
        {
            role.end(reason);
            return Poll::Ready(Some(Err(Cut::Ended(reason))));
        }
        let passed = match ready!(polled) {
            Some(Ok(frame)) => {
                // Whoever has the trailers does not ask again.
                let last = frame.is_trailers() || is_at_end;
                let frame = role.frame(frame);
                if frame.is_trailers() && role.has_no_status() {
                    role.end(CloseReason::Io);
                    return Poll::Ready(Some(Err(Cut::NoStatus)));
                }
                if last {
                    role.end(CloseReason::Done);
                }
                Some(Ok(frame))
            }
            Some(Err(error)) => {
                role.end(CloseReason::Io);
                Some(Err(Cut::Broken(error)))
            }
            // RFC 9113 §8.1: only END_STREAM is the end. Chunks have theirs without a sign.
            None if version == Version::HTTP_2 && !is_at_end => {
                role.end(CloseReason::Io);
                Some(Err(Cut::Reset))
            }
            None => {
                role.end(CloseReason::Done);
                None
            }
        };
        Poll::Ready(passed)
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Ours(text) => text.is_none(),
            Content::Passing(incoming, _) => {
                self.was_at_end.unwrap_or_else(|| incoming.is_end_stream())
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Ours(text) => {
                SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64))
            }
            Content::Passing(incoming, _) => incoming.size_hint(),
        }
    }
}
