use cellwall_api::distribution::{
    Ack, Endpoints, Hello, ProxyMessage, Serving, control_message, distribution_client,
    proxy_message::Message,
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tonic::{
    Streaming,
    codegen::{Service as TowerService, http::Uri},
    transport::Endpoint,
};

use super::*;

const SOON: Duration = Duration::from_secs(5);
const CHECKOUT: &str = "spiffe://pay.example/prod/checkout";
const VAULT: &str = "spiffe://pay.example/prod/card-vault";

/// A sidecar's end of the stream.
struct Sidecar {
    says: mpsc::Sender<ProxyMessage>,
    hears: Streaming<ControlMessage>,
}

/// Connects with mutual TLS.
#[derive(Clone)]
struct Connector(DangerousParty, SocketAddr);

impl TowerService<Uri> for Connector {
    type Response = TokioIo<tokio_rustls::client::TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future =
        std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), io::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Self(party, address) = self.clone();
        Box::pin(async move {
            Ok(TokioIo::new(party.connect(TcpStream::connect(address).await?).await?))
        })
    }
}

async fn sidecar(server: &ScriptedDistribution, ca: &TestCa, id: &str, wants: &[&str]) -> Sidecar {
    let party = DangerousParty::presenting(&ca.svid(id)).alpn(&["h2"]);
    let endpoint = Endpoint::from_static("http://control-plane");
    let connector = Connector(party, server.address());
    let channel = endpoint.connect_with_connector(connector).await.unwrap();
    let (says, messages) = mpsc::channel(16);
    let mut client = distribution_client::DistributionClient::new(channel);
    let hears = client.attach(ReceiverStream::new(messages)).await.unwrap().into_inner();
    let destinations = wants.iter().map(|name| (*name).to_owned()).collect();
    let hello = Hello { version: "0".into(), instance: "1".into(), destinations };
    says.send(message(Message::Hello(hello))).await.unwrap();
    Sidecar { says, hears }
}

fn message(message: Message) -> ProxyMessage {
    ProxyMessage { message: Some(message) }
}

async fn heard(sidecar: &mut Sidecar) -> control_message::Message {
    let message = tokio::time::timeout(SOON, sidecar.hears.message()).await.unwrap();
    message.unwrap().unwrap().message.unwrap()
}

#[tokio::test]
async fn a_sidecar_gets_the_snapshot_of_its_own_id_and_every_new_one() {
    let ca = TestCa::new("pay.example");
    let server = ScriptedDistribution::start(&ca).await.unwrap();
    let snapshot = |payload: &[u8]| {
        let (payload, signature) = (payload.to_vec(), b"sig".to_vec());
        control_message::Message::Snapshot(SignedSnapshot { payload, signature })
    };
    server.set_snapshot(CHECKOUT, b"v1".to_vec(), b"sig".to_vec());
    server.set_snapshot(VAULT, b"other".to_vec(), b"sig".to_vec());

    let mut checkout = sidecar(&server, &ca, CHECKOUT, &[]).await;
    assert_eq!(heard(&mut checkout).await, snapshot(b"v1"));
    server.set_snapshot(CHECKOUT, b"v2".to_vec(), b"sig".to_vec());
    assert_eq!(heard(&mut checkout).await, snapshot(b"v2"));

    let ack = Ack { version: 2, hash: vec![7] };
    checkout.says.send(message(Message::Ack(ack.clone()))).await.unwrap();
    let event = server.acknowledged(CHECKOUT, 2, SOON).await.unwrap();
    assert_eq!(event, Event { id: CHECKOUT.into(), stream: 0, said: Said::Ack(ack) });
}

#[tokio::test]
async fn a_followed_destination_is_where_its_sidecars_say_they_serve() {
    let ca = TestCa::new("pay.example");
    let server = ScriptedDistribution::start(&ca).await.unwrap();
    server.follow("card-vault", VAULT);
    let mut checkout = sidecar(&server, &ca, CHECKOUT, &["card-vault"]).await;
    let at = |addresses: &[&str]| {
        let addresses = addresses.iter().map(|text| (*text).to_owned()).collect();
        control_message::Message::Endpoints(Endpoints {
            destination: "card-vault".into(),
            addresses,
            streams: Vec::new(),
        })
    };
    assert_eq!(heard(&mut checkout).await, at(&[]));

    let vault = sidecar(&server, &ca, VAULT, &[]).await;
    let serving = Serving { addresses: vec!["127.0.0.1:7".into()], streams: false };
    vault.says.send(message(Message::Serving(serving))).await.unwrap();
    assert_eq!(heard(&mut checkout).await, at(&["127.0.0.1:7"]));

    drop(vault);
    assert_eq!(heard(&mut checkout).await, at(&[]));
}

#[tokio::test]
async fn a_cut_ends_the_stream_and_a_stop_the_listener() {
    let ca = TestCa::new("pay.example");
    let server = ScriptedDistribution::start(&ca).await.unwrap();
    let mut checkout = sidecar(&server, &ca, CHECKOUT, &[]).await;
    server.event(0, SOON, |event| matches!(event.said, Said::Hello(_))).await.unwrap();

    server.cut_streams();
    let ended = tokio::time::timeout(SOON, checkout.hears.message()).await.unwrap();
    assert_eq!(ended.unwrap_err().code(), tonic::Code::Unavailable);

    let address = server.address();
    server.stop().await;
    assert!(TcpStream::connect(address).await.is_err());
}
