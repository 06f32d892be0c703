//! Bodies: counted as they pass, and the end of the answer is the end of the flow.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use super::headers;
use crate::{
    CloseReason,
    flow::{Bytes, Flow},
};

/// A body of either direction.
#[derive(Debug)]
pub(crate) struct Body {
    content: Content,
    role: Role,
}

#[derive(Debug)]
enum Content {
    /// Our own words.
    Ours(Option<bytes::Bytes>),
    /// Passed on as it comes.
    Passing(Incoming),
}

#[derive(Debug)]
enum Role {
    Ours,
    Request(Arc<Bytes>),
    Response(Option<Box<Flow>>),
}

impl Body {
    /// A short answer of ours.
    pub(crate) fn ours(text: impl Into<bytes::Bytes>) -> Self {
        let text = text.into();
        let content = Content::Ours((!text.is_empty()).then_some(text));
        Self { content, role: Role::Ours }
    }

    /// A request's body on its way to the callee; `bytes` counts it.
    pub(crate) fn request(incoming: Incoming, bytes: Arc<Bytes>) -> Self {
        Self { content: Content::Passing(incoming), role: Role::Request(bytes) }
    }

    /// A response's body on its way to the caller. `flow` ends when it does.
    pub(crate) fn response(incoming: Incoming, flow: Flow) -> Self {
        let mut body =
            Self { content: Content::Passing(incoming), role: Role::Response(Some(flow.into())) };
        if body.is_end_stream() {
            body.role.end(CloseReason::Done);
        }
        body
    }
}

impl Role {
    fn end(&mut self, reason: CloseReason) {
        if let Self::Response(flow) = self
            && let Some(flow) = flow.take()
        {
            flow.close(reason);
        }
    }

    /// Looks at a frame as it passes.
    fn frame(&mut self, frame: &mut Frame<bytes::Bytes>) {
        let data = frame.data_ref().map_or(0, bytes::Bytes::len);
        match self {
            Self::Ours => {}
            Self::Request(bytes) => {
                bytes.add_request(data);
                if let Some(trailers) = frame.trailers_mut() {
                    headers::scrub_trailers(trailers); // HTTP-16, HTTP-19
                }
            }
            Self::Response(Some(flow)) => {
                flow.bytes.add_response(data);
                if let Some(status) = frame.trailers_ref().and_then(headers::grpc_status) {
                    flow.record.grpc_status = Some(status);
                }
            }
            Self::Response(None) => {}
        }
    }
}

impl HttpBody for Body {
    type Data = bytes::Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let Self { content, role } = &mut *self;
        let incoming = match content {
            Content::Ours(text) => {
                return Poll::Ready(text.take().map(|text| Ok(Frame::data(text))));
            }
            Content::Passing(incoming) => incoming,
        };
        let mut polled = std::task::ready!(Pin::new(&mut *incoming).poll_frame(cx));
        match &mut polled {
            Some(Ok(frame)) => {
                role.frame(frame);
                if incoming.is_end_stream() {
                    role.end(CloseReason::Done);
                }
            }
            Some(Err(_)) => role.end(CloseReason::Io),
            None => role.end(CloseReason::Done),
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Ours(text) => text.is_none(),
            Content::Passing(incoming) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Ours(text) => {
                SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64))
            }
            Content::Passing(incoming) => incoming.size_hint(),
        }
    }
}
