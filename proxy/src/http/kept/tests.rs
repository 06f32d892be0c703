use http::{Request, Response, Version};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{io::AsyncWriteExt as _, sync::mpsc, task::JoinSet};

use super::{End, Keeper, Kept, Lost};

/// The bodies of requests with the letters `money`; the connection lasts as long as the second.
async fn bodies() -> (mpsc::Receiver<Incoming>, JoinSet<()>) {
    let (mut app, near) = tokio::io::duplex(4096);
    let (say, bodies) = mpsc::channel(1);
    let service = service_fn(move |request: Request<Incoming>| {
        let say = say.clone();
        async move {
            say.send(request.into_body()).await.unwrap();
            std::future::pending::<Result<Response<String>, hyper::Error>>().await
        }
    });
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let request = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nmoney";
        app.write_all(request.as_bytes()).await.unwrap();
        let _ = http1::Builder::new().serve_connection(TokioIo::new(near), service).await;
    });
    (bodies, tasks)
}

fn kept(body: &Kept) -> (usize, End) {
    let state = body.shared.state();
    (state.bytes.len(), state.end)
}

#[tokio::test]
async fn nothing_is_kept_of_what_nobody_will_send_again() {
    let (mut bodies, _tasks) = bodies().await;
    let keeper = Keeper::of(bodies.recv().await.unwrap(), Version::HTTP_11);
    let mut first = keeper.first();
    assert_eq!(first.frame().await.unwrap().unwrap().into_data().unwrap(), "money");
    assert_eq!(kept(&first), (5, End::Open));
    drop(keeper);
    assert_eq!(kept(&first), (0, End::Lost));
    assert!(first.frame().await.is_none());
}

#[tokio::test]
async fn what_another_attempt_has_now_is_not_whole_in_the_first() {
    let (mut bodies, _tasks) = bodies().await;
    let keeper = Keeper::of(bodies.recv().await.unwrap(), Version::HTTP_11);
    let mut first = keeper.first();
    assert_eq!(first.frame().await.unwrap().unwrap().into_data().unwrap(), "money");
    assert_eq!((first.is_end_stream(), first.size_hint().exact()), (true, Some(0)));
    let mut second = keeper.again().unwrap();
    assert_eq!((first.is_end_stream(), first.size_hint().exact()), (false, None));
    assert!(matches!(first.frame().await, Some(Err(Lost::TakenOver))));
    assert_eq!((second.is_end_stream(), second.size_hint().exact()), (false, Some(5)));
    assert_eq!(second.frame().await.unwrap().unwrap().into_data().unwrap(), "money");
    assert_eq!((second.is_end_stream(), second.size_hint().exact()), (true, Some(0)));
    assert!(second.frame().await.is_none());
}
