//! What the HTTP interface asks about reports.

use async_trait::async_trait;
use tracing::info;
use uuid::Uuid;

use crate::api::{self, BackendError, Notice, Receipt, ReportError, ReportView};
use crate::app::backend::Backend;
use crate::ledger::Which;
use crate::report::Outcome;

#[async_trait]
impl api::Reports for Backend {
    async fn report(&self, notice: Notice) -> Result<Receipt, ReportError> {
        self.desk.take(notice).await
    }

    async fn reports(&self, limit: usize, open: bool) -> Result<Vec<ReportView>, BackendError> {
        let kept = self.ask(move |ledger| ledger.reports(&Which { open, limit })).await?;
        Ok(kept.into_iter().map(ReportView::from).collect())
    }

    async fn report_by_id(&self, id: Uuid) -> Result<Option<ReportView>, BackendError> {
        Ok(self.ask(move |ledger| ledger.report(id)).await?.map(ReportView::from))
    }

    async fn judge_report(&self, id: Uuid, outcome: Outcome) -> Result<Option<ReportView>, BackendError> {
        let now = self.clock.now();
        let judged = self.ask(move |ledger| ledger.judge_report(id, outcome, now)).await?;
        if let Some(kept) = &judged {
            let (stream, category) = (&kept.report.stream, kept.report.category.word());
            info!(%stream, category, outcome = outcome.word(), report = %id, "a report was looked at");
            self.telling.metrics.report(category, outcome.word());
        }
        Ok(judged.map(ReportView::from))
    }
}
