//! A media server waits for the answer before it lets anybody in: a thousand ask in a second, and hardly one waits.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say so at once")]

use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, StatusCode};
use rig::nginx::Nginx;
use rig::sluicegate::{POLICY, Sluicegate};
use sluicegate::clock::Clock;
use tokio::task::JoinSet;
use tokio::time::interval;

const A_SECOND: usize = 1000;
const DENIED: usize = 200;
/// What 99 of a hundred must be answered within.
const WITHIN: Duration = Duration::from_millis(5);
/// Tries, on a machine that may be busy with something else: one must do.
const TRIES: usize = 8;

/// One hook of nginx-rtmp, and how long its answer took.
async fn ask(clock: Clock, client: Client, hook: String, name: String, number: usize, refused: bool) -> Duration {
    let body = format!("call=publish&app=live&name={name}&clientid={number}&addr=192.0.2.1");
    let request = client.post(hook).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
    let began = clock.now();
    let answer = request.send().await.unwrap();
    let spent = clock.now().since(began);
    assert_eq!(answer.status() == StatusCode::FORBIDDEN, refused, "{name}: {}", answer.status());
    spent
}

/// A thousand in a second, one of fifty of them let in: the 99th of a hundred.
async fn a_thousand(clock: Clock, client: &Client, hook: &str, from: usize) -> Duration {
    let (mut asked, mut beat) = (JoinSet::new(), interval(Duration::from_secs(1) / A_SECOND as u32));
    for number in from..from + A_SECOND {
        beat.tick().await;
        let refused = number % 50 != 0;
        let name = if refused { format!("denied{}", number % DENIED) } else { format!("welcome{number}") };
        asked.spawn(ask(clock, client.clone(), hook.to_owned(), name, number, refused));
    }
    let mut spent = asked.join_all().await;
    spent.sort();
    spent[A_SECOND * 99 / 100]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_publishers_a_second_are_answered_at_once() {
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
    let (clock, mut tries) = (Clock::system(), Vec::new());
    for round in 1..=TRIES {
        tries.push(a_thousand(clock, &client, &sluicegate.hook(), round * A_SECOND).await);
        if tries.last().is_some_and(|spent| *spent < WITHIN) {
            return;
        }
    }
    panic!("99 of a hundred were answered within: {tries:?}");
}
