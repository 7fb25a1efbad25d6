//! Sluicegate watches live streams frame by frame and closes the gate on known or likely harmful content within
//! seconds.

pub mod act;
pub mod api;
pub mod app;
pub mod bank;
pub mod cli;
pub mod clock;
pub mod config;
pub mod decision;
pub mod decode;
pub mod detect;
pub mod eval;
pub mod fetch;
pub mod finding;
pub mod hash;
pub mod inspector;
pub mod judge;
pub mod ledger;
pub mod media_server;
pub mod metrics;
pub mod model;
pub mod picture;
pub mod report;
pub mod sample;
pub mod source;
pub mod stream;
