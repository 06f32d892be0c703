//! The gRPC side of the scripted distribution server.

use std::sync::Arc;

use cellwall_api::distribution::{
    ControlMessage, FlowBatch, FlowReceipt, ProxyMessage, distribution_server::Distribution,
    proxy_message::Message,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{
    incoming::Caller,
    reports::Reports,
    script::{Said, Script},
};
use crate::tasks::Spawner;

#[derive(Debug)]
pub(super) struct Service {
    script: Arc<Script>,
    reports: Arc<Reports>,
    tasks: Spawner,
}

impl Service {
    pub(super) const fn new(script: Arc<Script>, reports: Arc<Reports>, tasks: Spawner) -> Self {
        Self { script, reports, tasks }
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

    async fn report(&self, request: Request<FlowBatch>) -> Result<Response<FlowReceipt>, Status> {
        let caller = request.extensions().get::<Caller>().cloned();
        let Caller(id) = caller.ok_or_else(|| Status::unauthenticated("no certificate"))?;
        self.reports.came(&id, request.into_inner()).await.map(Response::new)
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
            Some(Message::Serving(serving)) => Said::Serving(serving),
            Some(Message::Ack(ack)) => Said::Ack(ack),
            Some(Message::Nack(nack)) => Said::Nack(nack),
            None => continue,
        };
        script.heard(number, &id, said);
    }
    script.heard(number, &id, Said::Left);
}
