//! Reports over HTTP: what a platform sends, and what it is answered.

use serde_json::json;

use super::*;
use crate::report::{Category, Outcome};

#[async_trait]
impl Reports for Fake {
    async fn report(&self, notice: Notice) -> Result<Receipt, ReportError> {
        match notice.stream.split('/').next() {
            Some("main") => {
                let received = Timestamp::from_millis(1);
                Ok(Receipt { id: DECISION, received, live: true, repeated: false })
            }
            Some("busy") => Err(ReportError::TooMany { wait: std::time::Duration::from_millis(7300) }),
            Some("full") => Err(ReportError::Backend(BackendError("the disk is full".to_owned()))),
            _ => Err(ReportError::NoSuchServer),
        }
    }

    async fn reports(&self, limit: usize, open: bool) -> Result<Vec<ReportView>, BackendError> {
        self.asked.store(limit, Ordering::Relaxed);
        Ok(if open { Vec::new() } else { vec![view(None)] })
    }

    async fn report_by_id(&self, id: Uuid) -> Result<Option<ReportView>, BackendError> {
        Ok((id == DECISION).then(|| view(None)))
    }

    async fn judge_report(&self, id: Uuid, outcome: Outcome) -> Result<Option<ReportView>, BackendError> {
        Ok((id == DECISION).then(|| view(Some(outcome))))
    }
}

fn view(outcome: Option<Outcome>) -> ReportView {
    ReportView {
        id: DECISION,
        stream: "main/live/cam".to_owned(),
        session: None,
        category: Category::Violence,
        imminent: false,
        explanation: "somebody is beaten".to_owned(),
        reporter: "anonymous".into(),
        received: Timestamp::from_millis(1),
        outcome,
        judged: outcome.map(|_| Timestamp::from_millis(2)),
    }
}

fn notice(stream: &str) -> String {
    json!({
        "stream": stream, "category": "violence", "explanation": "somebody is beaten", "good_faith": true,
        "notifier": { "name": "Ann", "email": "ann@example.org" },
    })
    .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_is_taken_or_said_why_not() {
    let served = served().await;
    for (body, status, says) in [
        (notice("main/live/cam"), 202, "\"live\":true"),
        (notice("other/live/cam"), 404, "no media server of that name"),
        (notice("busy/live/cam"), 429, "too many reports"),
        (notice("full/live/cam"), 503, "the disk is full"),
        (notice("cam"), 422, "server/app/name"),
        ("{".to_owned(), 400, "not JSON"),
        ("a".repeat(70_000), 413, "longer than 64 KiB"),
    ] {
        let answer = served.client.post(format!("{}/v1/reports", served.at)).body(body).send().await.unwrap();
        let wait = answer.headers().get("retry-after").map(|wait| wait.to_str().unwrap().to_owned());
        assert_eq!(wait.as_deref(), (status == 429).then_some("7"), "{says}");
        assert_eq!(answer.status().as_u16(), status, "{says}");
        let text = answer.text().await.unwrap();
        assert!(text.contains(says), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_of_a_report_is_said_and_shown() {
    let served = served().await;
    let at = |path: &str| format!("{}/v1/reports{path}", served.at);
    for (path, status) in [
        ("", 200),
        ("?open=true&limit=7", 200),
        ("?limit=0", 400),
        ("?limit=1001", 400),
        ("?latest=1", 400),
        (&*format!("/{DECISION}"), 200),
        (&*format!("/{}", Uuid::nil()), 404),
        ("/none", 404),
    ] {
        let answer = served.client.get(at(path)).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{path}");
    }
    assert_eq!(served.backend.asked.load(Ordering::Relaxed), 7);
    for (id, body, status) in [
        (DECISION, r#"{"outcome":"unfounded"}"#, 200),
        (DECISION, r#"{"outcome":"perhaps"}"#, 422),
        (DECISION, "{}", 422),
        (Uuid::nil(), r#"{"outcome":"founded"}"#, 404),
    ] {
        let answer = served.client.post(at(&format!("/{id}/outcome"))).body(body).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{body}");
        let text = answer.text().await.unwrap();
        assert!(status != 200 || text.contains("\"outcome\":\"unfounded\""), "{text}");
    }
}
