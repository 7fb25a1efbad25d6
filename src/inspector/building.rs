//! Builds what looks at pictures: decoders and models.

use tracing::{error, info, warn};

use super::{InspectorError, Setup};
use crate::decode::Decoder;
use crate::metrics::{Metrics, Stage};
use crate::model;

/// The models that can be used. What is broken is said, and streams are inspected without it, unless the configuration
/// would rather not start.
pub(super) fn models(config: &model::Config, metrics: &Metrics) -> Result<Vec<model::Session>, InspectorError> {
    let opened = model::open(config)?;
    for model::Broken { model, error } in &opened.broken {
        metrics.set_model_up(model, false);
        metrics.error(Stage::Classify, error.kind());
        error!(model = &**model, %error, "a model cannot be used: streams are inspected without it");
    }
    for session in &opened.sessions {
        let placement = session.placement();
        for (model, digest) in session.entries() {
            metrics.set_model_up(&model, true);
            metrics.set_model_info(&model, placement.provider.word(), &digest);
            info!(model = &*model, %placement, "model loaded");
        }
        if let Some((asked, why)) = &placement.instead_of {
            let model = &*session.manifest().name;
            warn!(model, asked = asked.word(), why, "the model runs on the CPU");
        }
    }
    Ok(opened.sessions)
}

/// One decoder a worker.
pub(super) fn decoders(setup: &Setup) -> Result<Vec<Decoder>, InspectorError> {
    Ok((0..setup.workers.max(1)).map(|_| Decoder::new(&setup.decode)).collect::<Result<_, _>>()?)
}
