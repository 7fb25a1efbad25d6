//! The routes of webhooks, in front of one webhook with one event that was given up.

use super::*;

const LETTER: Uuid = Uuid::from_u128(7);

#[async_trait]
impl Webhooks for Fake {
    async fn webhooks(&self) -> Result<Vec<WebhookView>, BackendError> {
        Ok(vec![WebhookView {
            name: "ops".into(),
            at: "https://ops.example".into(),
            events: vec!["cut".into()],
            gone_since: None,
            pending: 1,
            dead: 1,
            public_keys: Vec::new(),
        }])
    }

    async fn test_webhook(&self, name: &str) -> Result<Option<TestView>, BackendError> {
        Ok((name == "ops").then(|| TestView { delivered: true, detail: "HTTP 204".into() }))
    }

    async fn dead_letters(&self, webhook: &str, limit: usize) -> Result<Vec<DeadLetterView>, BackendError> {
        let letter = DeadLetterView {
            id: LETTER,
            event: "org.sluicegate.decision.cut".into(),
            attempts: 11,
            given_up: Timestamp::from_millis(5),
            reason: format!("at most {limit}"),
        };
        Ok(if webhook == "ops" { vec![letter] } else { Vec::new() })
    }

    async fn replay(&self, webhook: &str, letters: Option<Vec<Uuid>>) -> Result<Option<usize>, BackendError> {
        let known = letters.is_none_or(|letters| letters.contains(&LETTER));
        Ok((webhook == "ops").then_some(usize::from(known)))
    }
}

#[tokio::test]
async fn webhooks_are_listed_tested_and_replayed() {
    let served = served().await;
    let (_, webhooks) = served.get("/v1/webhooks").await;
    assert_eq!((&webhooks[0]["name"], &webhooks[0]["dead"]), (&"ops".into(), &1.into()));
    let (_, letters) = served.get("/v1/webhooks/ops/dead?limit=5").await;
    assert_eq!((&letters[0]["id"], &letters[0]["reason"]), (&LETTER.to_string().into(), &"at most 5".into()));
    let one = "{\"letters\":[\"00000000-0000-0000-0000-000000000007\"]}";
    for (path, body, status, said) in [
        ("/v1/webhooks/ops/test", "", 200, "\"delivered\":true"),
        ("/v1/webhooks/none/test", "", 404, "no webhook of that name"),
        ("/v1/webhooks/ops/replay", "{}", 200, "{\"replayed\":1}"),
        ("/v1/webhooks/ops/replay", one, 200, "{\"replayed\":1}"),
        ("/v1/webhooks/ops/replay", "{\"letters\":[]}", 200, "{\"replayed\":0}"),
        ("/v1/webhooks/none/replay", "{}", 404, "no webhook of that name"),
        ("/v1/webhooks/ops/replay", "", 400, "not an order"),
        ("/v1/webhooks/ops/replay", "{\"leters\":[]}", 400, "not an order"),
    ] {
        let (answered, text) = served.ask(Method::POST, path, body).await;
        assert_eq!(answered, status, "{path} {body}");
        assert!(text.contains(said), "{path} {body}: {text}");
    }
    for path in ["/v1/webhooks/ops/dead?limit=0", "/v1/webhooks/ops/dead?limit=1001"] {
        assert_eq!(served.get(path).await.0, 400, "{path}");
    }
}
