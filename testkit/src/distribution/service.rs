//! The gRPC side of the scripted distribution server.

use std::sync::Arc;

use cellwall_api::distribution::{
    ControlMessage, ProxyMessage, distribution_server::Distribution, proxy_message::Message,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{
    incoming::Caller,
    script::{Said, Script},
};
use crate::tasks::Spawner;

#[derive(Debug)]
pub(super) struct Service {
    script: Arc<Script>,
    tasks: Spawner,
}

impl Service {
    pub(super) const fn new(script: Arc<Script>, tasks: Spawner) -> Self {
        Self { script, tasks }
    }
}

#[tonic::async_trait]
impl Distribution for Service {
    type AttachStream = ReceiverStream<Result<ControlMessage, Status>>;

    async fn attach(
        &self,
        request: Request<Streaming<ProxyMessage>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let caller = request.extensions().get::<Caller>().cloned();
        let Caller(id) = caller.ok_or_else(|| Status::unauthenticated("no certificate"))?;
        let opened = self.script.open(&id);
        self.tasks.spawn(listen(request.into_inner(), self.script.clone(), opened.number, id));
        Ok(Response::new(ReceiverStream::new(opened.messages)))
    }
}

async fn listen(
    mut messages: Streaming<ProxyMessage>,
    script: Arc<Script>,
    number: usize,
    id: String,
) {
    while let Ok(Some(message)) = messages.message().await {
        let said = match message.message {
            Some(Message::Hello(hello)) => Said::Hello(hello),
            Some(Message::Serving(serving)) => Said::Serving(serving.addresses),
            Some(Message::Ack(ack)) => Said::Ack(ack),
            Some(Message::Nack(nack)) => Said::Nack(nack),
            None => continue,
        };
        script.heard(number, &id, said);
    }
    script.heard(number, &id, Said::Left);
}
