//! Who gives an order over the command line, and why: both stay with the decision.

use serde_json::{Value, json};

/// The options of every order.
#[derive(Debug, clap::Args)]
pub(super) struct By {
    /// Why, for whoever looks at it later.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Who orders it.
    #[arg(long, value_name = "NAME", env = "USER")]
    by: String,
}

impl By {
    /// The body of an order, with what else it says.
    pub(super) fn and(&self, mut more: Value) -> Value {
        more["by"] = json!(self.by);
        more["reason"] = json!(self.reason);
        more
    }
}
