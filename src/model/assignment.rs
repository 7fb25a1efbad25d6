//! Asks ONNX Runtime which provider each operator of a loaded model was given to: registering a provider says nothing
//! of whether it took any. The one safe function here wraps three calls that the `ort` crate declares and does not wrap.
//!
//! Why this is sound: the session outlives every pointer that is followed, for all of them belong to it and to this one
//! borrow of it; an array of `count` entries is read only after the call that fills both has succeeded; and the calls
//! exist in every runtime that the crate accepts (API version 24).

#![allow(unsafe_code)]

use std::ffi::CStr;
use std::ptr;
use std::slice;

use ort::AsPointer;
use ort::session::Session;

/// What a session has to be built with for [`operators`] to have an answer.
pub(super) const RECORDED: (&str, &str) = ("session.record_ep_graph_assignment_info", "1");

/// How many operators of `session` each provider was given, by ONNX Runtime's name of the provider. Nothing where the
/// session was not built with [`RECORDED`].
///
/// # Errors
/// What ONNX Runtime says.
pub(super) fn operators(session: &Session) -> ort::Result<Vec<(String, usize)>> {
    let api = ort::api();
    let mut subgraphs = ptr::null();
    let mut count = 0;
    // SAFETY: the session is alive, and both places to write to are.
    checked(unsafe { (api.Session_GetEpGraphAssignmentInfo)(session.ptr(), &raw mut subgraphs, &raw mut count) })?;
    // SAFETY: the call succeeded, so that there are `count` entries, which belong to the session.
    let subgraphs = if subgraphs.is_null() { &[] } else { unsafe { slice::from_raw_parts(subgraphs, count) } };
    let mut found: Vec<(String, usize)> = Vec::new();
    for subgraph in subgraphs {
        let (mut name, mut nodes, mut count) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the subgraph belongs to the session, and the places to write to are alive.
        checked(unsafe { (api.EpAssignedSubgraph_GetEpName)(*subgraph, &raw mut name) })?;
        // SAFETY: the same.
        checked(unsafe { (api.EpAssignedSubgraph_GetNodes)(*subgraph, &raw mut nodes, &raw mut count) })?;
        if name.is_null() {
            continue;
        }
        // SAFETY: the call succeeded, so that it is a text with an end, which belongs to the session.
        let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
        match found.iter_mut().find(|(known, _)| *known == name) {
            Some((_, operators)) => *operators += count,
            None => found.push((name.into_owned(), count)),
        }
    }
    Ok(found)
}

fn checked(status: ort::sys::OrtStatusPtr) -> ort::Result<()> {
    // SAFETY: it comes from a call of ONNX Runtime just made, and is used up here.
    unsafe { ort::Error::result_from_status(status) }
}
