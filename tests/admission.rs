//! A thousand ask to publish within a second, and each gets the right answer. How fast is told by `make bench-cutoff`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say so at once")]

use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, StatusCode};
use rig::nginx::Nginx;
use rig::sluicegate::{POLICY, Sluicegate};
use tokio::task::JoinSet;
use tokio::time::interval;

const A_SECOND: usize = 1000;
const DENIED: usize = 200;

/// One hook of nginx-rtmp.
async fn ask(client: Client, hook: String, name: String, number: usize, refused: bool) {
    let body = format!("call=publish&app=live&name={name}&clientid={number}&addr=192.0.2.1");
    let request = client.post(hook).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
    let answer = request.send().await.unwrap();
    let expected = if refused { StatusCode::FORBIDDEN } else { StatusCode::OK };
    assert_eq!(answer.status(), expected, "{name}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_publishers_a_second_are_answered_rightly() {
    drop(rustls::crypto::ring::default_provider().install_default());
    let mut sluicegate = Sluicegate::prepare().unwrap();
    let nginx = Nginx::start(None).unwrap();
    sluicegate.configure(&nginx, POLICY, "").unwrap();
    sluicegate.start().unwrap();
    let client = Client::builder().no_proxy().build().unwrap();
    for number in 0..DENIED {
        let order = format!(
            "{{\"stream\": {{\"server\": \"main\", \"app\": \"live\", \"name\": \"denied{number}\"}}, \
             \"verdict\": \"ban\", \"by\": \"ann\", \"reason\": \"a test\"}}"
        );
        let request =
            client.post(format!("{}/v1/decisions", sluicegate.api())).header(CONTENT_TYPE, "application/json");
        assert_eq!(request.body(order).send().await.unwrap().status(), StatusCode::CREATED);
    }
    let (mut asked, mut beat) = (JoinSet::new(), interval(Duration::from_secs(1) / A_SECOND as u32));
    for number in 0..A_SECOND {
        beat.tick().await;
        // One of fifty is let in.
        let refused = number % 50 != 0;
        let name = if refused { format!("denied{}", number % DENIED) } else { format!("welcome{number}") };
        asked.spawn(ask(client.clone(), sluicegate.hook(), name, number, refused));
    }
    assert_eq!(asked.join_all().await.len(), A_SECOND);
}
